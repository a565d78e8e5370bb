//! The prescribed change, ready to paste.

use maud::{Markup, html};
use steadygrad::cure::CureReport;

use crate::facts;

pub(super) fn section(report: &CureReport) -> Markup {
    html! {
        section {
            h2 { "Prescription" }
            @match &report.prescription {
                None => { p.warning { (facts::next_steps(report)) } }
                Some(prescription) => {
                    p { strong { (prescription.trial) } ": " (prescription.summary) }
                    @if let Some(diff) = &prescription.study_diff {
                        h3 { "In the study" }
                        pre.diff { code { @for line in diff.lines() { (diff_line(line)) } } }
                    }
                    @if !prescription.burn.is_empty() {
                        h3 { "With Burn (Rust)" }
                        pre { code { (prescription.burn) } }
                    }
                    h3 { "With PyTorch (Python)" }
                    pre { code { (prescription.pytorch) } }
                }
            }
        }
    }
}

fn diff_line(line: &str) -> Markup {
    let text = html! { (line) "\n" };
    match facts::diff_sign(line) {
        Some('+') => html! { ins { (text) } },
        Some('-') => html! { del { (text) } },
        _ => text,
    }
}
