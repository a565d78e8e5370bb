//! Findings, like a compiler's errors.

use anstyle::Style;
use steadygrad::diagnose::Finding;

use super::text::{BOLD, ERROR, FRAME, NOTE, clean, paint, wrapped};
use crate::number;

pub(super) fn section(findings: &[Finding]) -> String {
    findings
        .iter()
        .enumerate()
        .map(|(index, finding)| one(finding, index == 0))
        .collect()
}

/// The first finding is the cause, so only it says why; the others follow from it.
fn one(finding: &Finding, headline: bool) -> String {
    let (level, style) = if headline {
        ("error", ERROR)
    } else {
        ("note", NOTE)
    };
    let label = format!("{level}[{}]", finding.code);
    let indent = " ".repeat(label.chars().count() + 2);
    let label = paint(style, &label);
    let title = wrapped(BOLD, &finding.title, &indent, &indent);
    let when = match finding.step {
        Some(step) => format!("step {step}"),
        None => "before the first step".into(),
    };
    let mut out = format!(
        "\n{label}: {}  {} {}, {when}\n",
        title.trim_start_matches(' '),
        paint(FRAME, "-->"),
        clean(&finding.place.to_string())
    );
    for evidence in &finding.evidence {
        let line = format!("{}: {}", evidence.name, number::short(evidence.value));
        out.push_str(&note(&line));
    }
    if headline {
        out.push_str(&note(&format!("why: {}", finding.why)));
    }
    out.push_str(&note(&format!("help: {}", finding.help)));
    out
}

fn note(text: &str) -> String {
    let indent = " ".repeat(5);
    let body = wrapped(Style::new(), text, &indent, &indent);
    format!("   {} {}", paint(FRAME, "="), body.trim_start_matches(' '))
}
