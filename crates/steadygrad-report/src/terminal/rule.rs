//! One rule, explained.

use anstyle::Style;
use steadygrad::diagnose::{Example, Rule};

use super::findings;
use super::text::{BOLD, NOTE, heading, paint, wrapped};
use crate::rules::{SECTIONS, example};

/// What a rule means, sees and asks for, for a terminal of 100 columns, with ANSI styles.
pub fn rule(rule: &Rule) -> String {
    let mut out = format!("{}: {}\n", paint(NOTE, rule.code), paint(BOLD, rule.name));
    for (title, text) in SECTIONS {
        out.push_str(&heading(title));
        out.push_str(&wrapped(Style::new(), text(rule), "  ", "  "));
    }
    out.push_str(&heading("Sources"));
    for source in rule.references {
        out.push_str(&wrapped(Style::new(), source, "  ", "  "));
    }
    out.push_str(&heading("Example"));
    match rule.example {
        Example::Measured { fires, silent } => {
            out.push_str(&wrapped(
                Style::new(),
                &format!("It speaks when {}.", fires.text),
                "  ",
                "  ",
            ));
            out.push_str(&wrapped(
                Style::new(),
                &format!("It is silent when {}.", silent.text),
                "  ",
                "  ",
            ));
        }
        Example::Logs { .. } => {
            let found: Vec<_> = example(rule).into_iter().collect();
            out.push_str(&findings::section(&found));
        }
    }
    out
}
