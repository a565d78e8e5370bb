//! The report as one HTML page that needs no network: styles, script and data are inside.

mod findings;
mod numbers;
mod plots;
mod prescription;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotly::Plot;
use steadygrad::cure::CureReport;

use crate::{facts, number};

/// The browser itself refuses every request, whatever the embedded script might try.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
                      style-src 'unsafe-inline'; img-src data: blob:";

/// The report as a self-contained page. The plots need JavaScript; all else does not.
pub fn cure(report: &CureReport) -> String {
    let subject = &report.subject;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { (subject.name) " · steadygrad" }
                style { (PreEscaped(include_str!("html/style.css"))) }
                (PreEscaped(plotly_script()))
            }
            body {
                header {
                    p.eyebrow { "steadygrad cure" }
                    h1 { (subject.name) }
                    p { (subject.description) }
                    p.headline.good[report.prescription.is_some()] { (facts::headline(report)) }
                    @if report.interrupted { (interrupted(report)) }
                }
                main {
                    (findings::section(&report.findings))
                    section {
                        h2 { "How it breaks" }
                        (tables::baseline(report))
                        (plots::growth(report))
                        (plots::baseline(report))
                    }
                    section {
                        h2 { "Remedies compared" }
                        (tables::ranking(report))
                        (plots::remedies(report))
                        (plots::losses(report))
                        (tables::not_tried(report))
                    }
                    (tables::derivations(report))
                    @if !report.verification.is_empty() {
                        section {
                            h2 { "Fresh seeds" }
                            (tables::verification(report))
                            (plots::seeds(report))
                        }
                    }
                    (prescription::section(report))
                    (numbers::section(report))
                    @if let Some(study) = &report.study {
                        details { summary { "The study" } pre { code { (study) } } }
                    }
                }
                footer {
                    "steadygrad " (report.version) ", " (number::duration(report.seconds))
                    " in all. Seconds depend on the machine; work does not."
                }
            }
        }
    }
    .into_string()
}

fn interrupted(report: &CureReport) -> Markup {
    let missing = facts::missing(report);
    html! {
        p.warning {
            strong { "Interrupted. " }
            @if missing.is_empty() { "Nothing is missing." }
            @else { "Not run: " (missing.join(", ")) "." }
        }
    }
}

/// Plotly's script alone. The crate's sources hold MathJax after it, which no plot here uses
/// and which would look for its fonts on the network.
fn plotly_script() -> String {
    const END: &str = "</script>";
    let mut sources = Plot::offline_js_sources();
    if let Some(end) = sources.find(END) {
        sources.truncate(end + END.len());
    }
    sources
}
