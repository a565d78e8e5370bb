//! The numbers of the study and of the model before its first step.

use maud::{Markup, html};
use steadygrad::cure::CureReport;

use crate::number;

pub(super) fn section(report: &CureReport) -> Markup {
    html! {
        section {
            h2 { "Numbers" }
            div.columns {
                (list("The study", &study(report)))
                (list("The model before its first step", &measured(report)))
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

fn study(report: &CureReport) -> Vec<(&'static str, String)> {
    let (subject, setup) = (&report.subject, &report.setup);
    let mut rows = vec![
        ("training samples", subject.training_samples.to_string()),
        ("validation samples", subject.validation_samples.to_string()),
        ("trainable values", subject.parameters.to_string()),
        ("steps", report.steps.to_string()),
        ("samples a step", report.batch_size.to_string()),
        ("learning rate", number::short(setup.learning_rate)),
        ("momentum", number::short(setup.momentum)),
    ];
    if let Some(depth) = setup.depth {
        rows.push(("repeated layers", depth.to_string()));
    }
    if let Some(length) = setup.sequence_length {
        rows.push(("time steps", length.to_string()));
    }
    rows.push(("seed", report.seed.to_string()));
    rows
}

fn measured(report: &CureReport) -> Vec<(&'static str, String)> {
    let measured = &report.measurements;
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
            "its change in the last iteration",
            number::percent(sharpness.last_change),
        ));
    }
    rows
}
