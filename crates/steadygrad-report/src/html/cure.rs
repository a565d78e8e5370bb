//! A cure, as a page.

use maud::{Markup, html};
use steadygrad::cure::CureReport;
use steadygrad::trace::StepUnit;

use super::page::Page;
use super::{findings, numbers, plots, prescription, tables};
use crate::{facts, number};

/// Returns the report as a self-contained page. Only the plots need JavaScript.
pub fn cure(report: &CureReport) -> String {
    let subject = &report.subject;
    let page = Page {
        verb: "steadygrad cure",
        name: &subject.name,
        description: &subject.description,
        headline: &facts::headline(report),
        good: report.prescription.is_some(),
        warning: html! { @if report.interrupted { (interrupted(report)) } },
        footer: html! {
            "steadygrad " (report.version) ", " (number::duration(report.seconds))
            " in all. Seconds depend on the machine; work does not."
        },
    };
    page.render(html! {
        (findings::section(&report.findings, StepUnit::Step))
        section {
            h2 { "How it breaks" }
            (tables::baseline(report))
            (plots::growth(&report.measurements.growth))
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
    })
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
