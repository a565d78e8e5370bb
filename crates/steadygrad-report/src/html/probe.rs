//! A probe before training, as a page.

use maud::{Markup, html};
use steadygrad::probe::{ProbeReport, TwinRun};
use steadygrad::trace::StepUnit;

use super::page::Page;
use super::{findings, numbers, plots};
use crate::number;
use crate::probe::{self, Section};

/// Returns the verdict as a self-contained page. Only the plots need JavaScript.
pub fn probe(report: &ProbeReport) -> String {
    let measured = &report.measurements;
    let spectrum = measured.spectrum.as_ref();
    let page = Page {
        verb: "steadygrad probe",
        name: &report.subject.name,
        description: &report.subject.description,
        headline: &probe::headline(report),
        good: report.is_healthy() && report.forecast.is_some(),
        warning: html! {},
        footer: html! {
            "steadygrad " (report.version) ", " (number::duration(report.seconds))
            " in all. Seconds depend on the machine."
        },
    };
    let growth = html! {
        @if !measured.growth.points.is_empty() { (plots::growth(&measured.growth)) }
        @if let Some(found) = spectrum.filter(|found| !found.layers.is_empty()) {
            (plots::layers(found, measured.criticality))
        }
    };
    let spectrum = html! {
        @if let Some(found) = spectrum.filter(|found| !found.exponents.is_empty()) {
            (plots::spectrum(found))
        }
    };
    let phase = match (&report.phase_diagram, measured.criticality) {
        (Some(diagram), Some(network)) => plots::phase(diagram, network),
        _ => html! {},
    };
    let butterfly = |twins: &TwinRun| {
        let plot = match &twins.outcome {
            Ok(found) => plots::butterfly(twins.perturbed, found),
            Err(_) => html! {},
        };
        section(&probe::butterfly(twins, measured.growth.axis), plot)
    };
    let nothing = || html! {};
    page.render(html! {
        (findings::section(&report.findings, StepUnit::Step))
        @if let Some(remedy) = probe::remedy(report) { (section(&remedy, nothing())) }
        @if let Some(risk) = probe::risk(report) { (section(&risk, nothing())) }
        (section(&probe::growth(report), growth))
        (section(&probe::spectrum(report), spectrum))
        @if let Some(layers) = probe::layers(report) { (section(&layers, nothing())) }
        (section(&probe::forecast(report), nothing()))
        (section(&probe::criticality(report), phase))
        (section(&probe::learning_rate(report), nothing()))
        (section(&probe::subnormals(report), nothing()))
        @for twins in &report.butterfly { (butterfly(twins)) }
        @if report.butterfly.is_empty() {
            @if let Some(part) = probe::no_butterfly(report) { (section(&part, nothing())) }
        }
        (numbers::probe(report))
        @if let Some(study) = &report.study {
            details { summary { "The study" } pre { code { (study) } } }
        }
    })
}

/// Heading, names with values, table, note, plots.
fn section(section: &Section, plots: Markup) -> Markup {
    html! {
        section {
            h2 { (section.title) }
            @if !section.rows.is_empty() {
                dl.facts { @for (name, value) in &section.rows { dt { (name) } dd { (value) } } }
            }
            @if let Some(table) = &section.table {
                div.scroll {
                    table {
                        caption.sr { (section.title) }
                        thead {
                            tr {
                                @for (index, name) in table.header.iter().enumerate() {
                                    th.number[index > 0] scope="col" { (name) }
                                }
                            }
                        }
                        tbody {
                            @for row in &table.rows {
                                tr {
                                    @for (index, cell) in row.iter().enumerate() {
                                        @if index == 0 { th scope="row" { (cell) } }
                                        @else { td.number { (cell) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(note) = &section.note { p.hint { (note) } }
            (plots)
        }
    }
}
