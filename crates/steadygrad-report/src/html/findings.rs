//! Findings as cards.

use maud::{Markup, html};
use steadygrad::diagnose::Finding;

use crate::{facts, number};

pub(super) fn section(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            section {
                h2 { "Findings" }
                p.hint { "The first is the cause; the others follow from it." }
                @for (index, finding) in findings.iter().enumerate() {
                    (card(finding, index == 0))
                }
            }
        }
    }
}

fn card(finding: &Finding, cause: bool) -> Markup {
    html! {
        article.card.cause[cause] {
            h3 {
                span.code { (finding.code) }
                " "
                @if cause { span.sr { "Cause: " } }
                (finding.title)
            }
            p.place {
                "at " (facts::place(finding))
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
