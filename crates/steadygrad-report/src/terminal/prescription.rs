//! The prescribed change.

use anstyle::Style;
use steadygrad::cure::CureReport;

use super::text::{ADDED, BOLD, DIM, REMOVED, WARN, clean, heading, paint, wrapped};
use crate::facts;

pub(super) fn section(report: &CureReport) -> String {
    let Some(prescription) = &report.prescription else {
        return heading("No prescription") + &wrapped(WARN, &facts::next_steps(report), "  ", "  ");
    };
    let mut out = heading("Prescription");
    let summary = format!("{}: {}", prescription.trial, prescription.summary);
    out.push_str(&wrapped(BOLD, &summary, "  ", "  "));
    if let Some(diff) = &prescription.study_diff {
        out.push_str(&block("In the study", diff, diff_style));
    }
    let plain: fn(&str) -> Style = |_| Style::new();
    if !prescription.burn.is_empty() {
        out.push_str(&block("With Burn", &prescription.burn, plain));
    }
    out.push_str(&block("With PyTorch", &prescription.pytorch, plain));
    out
}

fn block(title: &str, code: &str, style: fn(&str) -> Style) -> String {
    let mut out = format!("\n  {}\n", paint(DIM, title));
    for line in code.lines() {
        out.push_str(&format!("    {}\n", paint(style(line), clean(line))));
    }
    out
}

fn diff_style(line: &str) -> Style {
    match facts::diff_sign(line) {
        Some('+') => ADDED,
        Some('-') => REMOVED,
        _ => Style::new(),
    }
}
