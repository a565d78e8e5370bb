//! A probe before training, as text.

use anstyle::Style;
use steadygrad::probe::ProbeReport;
use steadygrad::trace::StepUnit;

use super::text::{BOLD, DIM, ERROR, GOOD, WARN, field, heading, paint, wrapped};
use super::{findings, growth, sparkline, tables};
use crate::number;
use crate::probe::{self, Section};

/// Returns the verdict for a terminal of 100 columns, with ANSI styles. Strip the styles if the
/// output is no terminal: they repeat what the words say.
pub fn probe(report: &ProbeReport) -> String {
    let measured = &report.measurements;
    let exponents = measured.spectrum.as_ref().map(|spectrum| {
        let values: Vec<f64> = spectrum.exponents.iter().map(|e| e.value).collect();
        sparkline::linear(&values, "exponent")
    });
    let mut out = wrapped(BOLD, &probe::about(report), "", "");
    out.push_str(&wrapped(style(report), &probe::headline(report), "", ""));
    out.push_str(&findings::section(&report.findings, StepUnit::Step));
    if let Some(remedy) = probe::remedy(report) {
        out.push_str(&section(&remedy, ""));
    }
    if let Some(risk) = probe::risk(report) {
        out.push_str(&section(&risk, ""));
    }
    out.push_str(&section(
        &probe::growth(report),
        &growth::chart(&measured.growth),
    ));
    out.push_str(&section(
        &probe::spectrum(report),
        exponents.as_deref().unwrap_or_default(),
    ));
    if let Some(layers) = probe::layers(report) {
        out.push_str(&section(&layers, ""));
    }
    for part in [
        probe::forecast(report),
        probe::criticality(report),
        probe::learning_rate(report),
        probe::subnormals(report),
    ] {
        out.push_str(&section(&part, ""));
    }
    for twins in &report.butterfly {
        out.push_str(&section(&probe::butterfly(twins, measured.growth.axis), ""));
    }
    let no_twins = report.butterfly.is_empty().then_some(report);
    if let Some(part) = no_twins.and_then(probe::no_butterfly) {
        out.push_str(&section(&part, ""));
    }
    let end = format!(
        "steadygrad {}, {} in all; seconds depend on the machine",
        report.version,
        number::duration(report.seconds)
    );
    out.push_str(&format!("\n{}\n", paint(DIM, end)));
    out
}

fn style(report: &ProbeReport) -> Style {
    match (report.is_healthy(), &report.forecast) {
        (false, _) => ERROR,
        (true, Some(_)) => GOOD,
        (true, None) => WARN,
    }
}

/// Heading, chart, names with values, table, note.
fn section(section: &Section, chart: &str) -> String {
    let mut out = heading(&section.title) + chart;
    for (name, value) in &section.rows {
        out.push_str(&field(name, value));
    }
    if let Some(table) = &section.table {
        let header: Vec<&str> = table.header.iter().map(String::as_str).collect();
        let rows: Vec<(Vec<String>, Style)> = table
            .rows
            .iter()
            .map(|row| (row.clone(), Style::new()))
            .collect();
        out.push_str(&tables::render(&header, &rows, tables::WIDE));
    }
    if let Some(note) = &section.note {
        out.push_str(&wrapped(DIM, note, "  ", "  "));
    }
    out
}
