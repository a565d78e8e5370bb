//! Findings as cards.

use maud::{Markup, html};
use steadygrad::diagnose::Finding;
use steadygrad::trace::StepUnit;

use crate::{facts, number};

/// `unit` is what the findings' steps count.
pub(super) fn section(findings: &[Finding], unit: StepUnit) -> Markup {
    html! {
        @if !findings.is_empty() {
            section {
                h2 { "Findings" }
                p.hint { "Root causes come first." }
                @for (index, finding) in findings.iter().enumerate() {
                    (card(finding, index == 0, unit))
                }
            }
        }
    }
}

fn card(finding: &Finding, cause: bool, unit: StepUnit) -> Markup {
    html! {
        article.card.cause[cause] {
            h3 {
                span.code { (finding.code) }
                " "
                @if cause { span.sr { "Cause: " } }
                (finding.title)
            }
            p.place {
                "at " (facts::place(finding, unit))
            }
            div.columns {
                table.evidence {
                    caption.sr { "Evidence for " (finding.code) }
                    tbody {
                        @for evidence in &finding.evidence {
                            tr {
                                th scope="row" { (evidence.name) }
                                td.number { (number::short(evidence.value)) }
                            }
                        }
                    }
                }
                div {
                    p { strong { "Why " } (finding.why) }
                    p { strong { "Help " } (finding.help) }
                    @if let Some(confidence) = facts::confidence(finding) {
                        p { strong { "Confidence " } (confidence) }
                    }
                    @for note in &finding.notes { p { strong { "Note " } (note) } }
                }
            }
        }
    }
}
