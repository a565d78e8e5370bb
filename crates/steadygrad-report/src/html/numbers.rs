//! The numbers of the study and of the model before its first step.

use maud::{Markup, html};
use steadygrad::cure::{CureReport, SubjectSummary};
use steadygrad::measurements::{Measurements, TrainingSetup};
use steadygrad::probe::ProbeReport;

use crate::number;

pub(super) fn section(report: &CureReport) -> Markup {
    let steps = Some(report.steps);
    let rows = study(
        &report.subject,
        &report.setup,
        steps,
        report.batch_size,
        report.seed,
    );
    html! {
        section {
            h2 { "Numbers" }
            div.columns {
                (list("The study", &rows))
                (list(BEFORE, &measured(&report.measurements)))
            }
        }
    }
}

/// The numbers of a probe, with every weight matrix.
pub(super) fn probe(report: &ProbeReport) -> Markup {
    let rows = study(
        &report.subject,
        &report.setup,
        None,
        report.batch_size,
        report.seed,
    );
    let measurements = &report.measurements;
    html! {
        section {
            h2 { "Numbers" }
            div.columns {
                (list("The study", &rows))
                (list(BEFORE, &measured(measurements)))
            }
            @if !measurements.weights.is_empty() { (weights(measurements)) }
            @if !measurements.growth.points.is_empty() { (points(measurements)) }
            @if let Some(spectrum) = &measurements.spectrum {
                (table(
                    "Exponents",
                    &["Index", "Exponent"],
                    spectrum.exponents.iter().enumerate().map(|(index, one)| vec![
                        (index + 1).to_string(),
                        number::with_error(one.value, one.standard_error),
                    ]),
                ))
            }
        }
    }
}

const BEFORE: &str = "The model before its first step";

fn weights(measurements: &Measurements) -> Markup {
    table(
        "Weight matrices",
        &["Name", "Size", "Gain", "Frobenius norm", "Spectral norm"],
        measurements.weights.iter().map(|matrix| {
            vec![
                matrix.name.clone(),
                format!("{} x {}", matrix.fan_out, matrix.fan_in),
                number::short(matrix.gain()),
                number::short(matrix.frobenius_norm),
                number::short(matrix.spectral_norm),
            ]
        }),
    )
}

fn points(measurements: &Measurements) -> Markup {
    let factor = |factor: Option<f64>| factor.map_or("–".into(), number::times);
    table(
        "Growth, point by point",
        &[
            "Name",
            "Gradient norm",
            "Its factor",
            "Activation",
            "Its factor",
        ],
        measurements.growth.points.iter().map(|point| {
            vec![
                point.name.clone(),
                number::short(point.gradient_norm),
                factor(point.backward_growth),
                number::short(point.activation_rms),
                factor(point.forward_growth),
            ]
        }),
    )
}

/// A table that is folded at first: long, and of interest to few.
fn table(title: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Markup {
    html! {
        details {
            summary { (title) }
            div.scroll {
                table {
                    thead {
                        tr {
                            @for (index, name) in header.iter().enumerate() {
                                th.number[index > 0] scope="col" { (name) }
                            }
                        }
                    }
                    tbody {
                        @for row in rows {
                            tr {
                                @for (index, cell) in row.iter().enumerate() {
                                    td.number[index > 0] { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn list(title: &str, rows: &[(&str, String)]) -> Markup {
    html! {
        div {
            h3 { (title) }
            table.evidence {
                tbody {
                    @for (name, value) in rows {
                        tr { th scope="row" { (name) } td.number { (value) } }
                    }
                }
            }
        }
    }
}

fn study(
    subject: &SubjectSummary,
    setup: &TrainingSetup,
    steps: Option<u64>,
    batch_size: usize,
    seed: u64,
) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("training samples", subject.training_samples.to_string()),
        ("validation samples", subject.validation_samples.to_string()),
        ("trainable values", subject.parameters.to_string()),
        ("samples a step", batch_size.to_string()),
        ("learning rate", number::short(setup.learning_rate)),
        ("momentum", number::short(setup.momentum)),
    ];
    if let Some(steps) = steps {
        rows.insert(3, ("steps", steps.to_string()));
    }
    if let Some(depth) = setup.depth {
        rows.push(("repeated layers", depth.to_string()));
    }
    if let Some(length) = setup.sequence_length {
        rows.push(("time steps", length.to_string()));
    }
    rows.push(("seed", seed.to_string()));
    rows
}

fn measured(measured: &Measurements) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("loss", number::short(measured.loss)),
        ("input root mean square", number::short(measured.input_rms)),
        ("norm of all weights", number::short(measured.weight_norm)),
        (
            "gradient's global norm",
            number::short(measured.global_norm),
        ),
        (
            "subnormal gradient values",
            number::percent(measured.subnormal_share),
        ),
        ("activation", measured.activation.name().into()),
    ];
    if let Some(sharpness) = measured.sharpness {
        rows.push(("sharpness", number::short(sharpness.lambda_max)));
        rows.push((
            "its relative error bound",
            number::percent(sharpness.relative_error()),
        ));
    }
    rows
}
