//! One rule, explained.

use anstyle::Style;
use steadygrad::diagnose::Rule;
use steadygrad::trace::StepUnit;

use super::findings;
use super::text::{BOLD, NOTE, heading, paint, wrapped};
use crate::rules::{TEXTS, example, example_in_words};

/// Returns a rule's texts and example for a terminal of 100 columns, with ANSI styles.
pub fn rule(rule: &Rule) -> String {
    let plain = |text: &str| wrapped(Style::new(), text, "  ", "  ");
    let mut out = format!("{}: {}\n", paint(NOTE, rule.code), paint(BOLD, rule.name));
    for (title, text) in TEXTS {
        out.push_str(&heading(title));
        out.push_str(&plain(text(rule)));
    }
    out.push_str(&heading("Sources"));
    for source in rule.references {
        out.push_str(&plain(source));
    }
    out.push_str(&heading("Example"));
    for sentence in example_in_words(rule) {
        out.push_str(&plain(&sentence));
    }
    let found: Vec<_> = example(rule).into_iter().collect();
    out.push_str(&findings::section(&found, StepUnit::Step));
    out
}
