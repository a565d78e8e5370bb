//! Findings, like a compiler's errors.

use anstyle::Style;
use steadygrad::diagnose::{Finding, FindingLevel};
use steadygrad::trace::StepUnit;

use super::sparkline;
use super::text::{BOLD, ERROR, FRAME, NOTE, WARN, clean, paint, wrapped};
use crate::{facts, number};

/// `unit` is what the findings' steps count.
pub(super) fn section(findings: &[Finding], unit: StepUnit) -> String {
    findings
        .iter()
        .enumerate()
        .map(|(index, finding)| one(finding, index == 0, unit))
        .collect()
}

/// The first finding is the cause, so only the first says why; the errors after it are shown as
/// notes.
fn one(finding: &Finding, headline: bool, unit: StepUnit) -> String {
    let level = match finding.level {
        FindingLevel::Error if !headline => FindingLevel::Note,
        level => level,
    };
    let style = match level {
        FindingLevel::Error => ERROR,
        FindingLevel::Warning => WARN,
        _ => NOTE,
    };
    let label = format!("{}[{}]", level.name(), finding.code);
    let indent = " ".repeat(label.chars().count() + 2);
    let label = paint(style, &label);
    let title = wrapped(BOLD, &finding.title, &indent, &indent);
    let mut out = format!(
        "\n{label}: {}  {} {}\n",
        title.trim_start_matches(' '),
        paint(FRAME, "-->"),
        clean(&facts::place(finding, unit))
    );
    if let Some(chart) = &finding.chart {
        out.push_str(&sparkline::in_frame(chart, unit));
    }
    for evidence in &finding.evidence {
        let line = format!("{}: {}", evidence.name, number::short(evidence.value));
        out.push_str(&note(&line));
    }
    if let Some(confidence) = facts::confidence(finding) {
        out.push_str(&note(&format!("confidence: {confidence}")));
    }
    if headline {
        out.push_str(&note(&format!("why: {}", finding.why)));
    }
    out.push_str(&note(&format!("help: {}", finding.help)));
    for text in &finding.notes {
        out.push_str(&note(&format!("note: {text}")));
    }
    out
}

fn note(text: &str) -> String {
    let indent = " ".repeat(5);
    let body = wrapped(Style::new(), text, &indent, &indent);
    format!("   {} {}", paint(FRAME, "="), body.trim_start_matches(' '))
}
