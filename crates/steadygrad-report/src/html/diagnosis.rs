//! The diagnosis of logs, as a page.

use maud::{Markup, html};
use steadygrad::diagnose::{Diagnosis, RunDiagnosis};

use super::page::Page;
use super::{findings, plots};
use crate::facts;

/// Returns the findings as a self-contained page. Only the plots need JavaScript.
pub fn diagnosis(diagnosis: &Diagnosis) -> String {
    let headline = match diagnosis.runs.as_slice() {
        [run] => facts::state(run),
        runs => facts::runs(runs),
    };
    let page = Page {
        verb: "steadygrad diagnose",
        name: &diagnosis.path,
        description: "What broke first, where, why, and what to do, from the log alone.",
        headline: &headline,
        good: diagnosis.runs.iter().all(facts::is_good),
        warning: html! {},
        footer: html! { "steadygrad " (diagnosis.version) },
    };
    let runs = diagnosis.runs.iter().enumerate();
    page.render(html! {
        @for (index, run) in runs { (of_run(index, run)) }
    })
}

fn of_run(index: usize, run: &RunDiagnosis) -> Markup {
    html! {
        section {
            h2 { (run.name) }
            dl.facts {
                dt { "Log" }
                dd { (facts::log(run)) }
                dt { "State" } dd { (facts::state(run)) }
                @if let Some(reason) = facts::cut_short(run) { dt { "Cut short" } dd { (reason) } }
                @for sentence in facts::unseen(run) { dt { "Not visible" } dd { (sentence) } }
                @if let Some(objective) = facts::objective(run) {
                    dt { "Kind of training" } dd { (objective) }
                }
                dt { "Read" }
                dd {
                    @for (index, column) in facts::columns(run).into_iter().enumerate() {
                        @if index > 0 { ", " }
                        (column.role)
                        @if let Some(name) = column.from { " from " code { (name) } }
                    }
                }
                @if !run.missing.is_empty() {
                    dt { "Not in the log" } dd { (run.missing.join(", ")) }
                }
                @if let Some(forecast) = facts::forecast(run) {
                    dt { "Forecast" } dd { (forecast) }
                }
                @for note in &run.notes { dt { "About the log" } dd { (note) } }
            }
            @for (plot, chart) in run.overview.iter().enumerate() {
                (plots::course(&format!("plot-{index}-{plot}"), chart, run))
            }
        }
        (findings::section(&run.findings, run.unit))
    }
}
