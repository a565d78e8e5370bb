//! A cure, as text.

use anstyle::Style;
use steadygrad::cure::{CureReport, TrialKind};
use steadygrad::trace::StepUnit;

use super::text::{BOLD, DIM, GOOD, WARN, field, heading, paint, wrapped};
use super::{findings, growth, prescription, tables};
use crate::{facts, number};

/// Returns the report for a terminal of 100 columns, with ANSI styles. Strip the styles if the
/// output is no terminal: they repeat what the words say.
pub fn cure(report: &CureReport) -> String {
    let mut out = header(report);
    out.push_str(&findings::section(&report.findings, StepUnit::Step));
    out.push_str(&growth::section(&report.measurements.growth));
    out.push_str(&baseline(report));
    out.push_str(&tables::trials(report));
    out.push_str(&derivations(report));
    out.push_str(&tables::verification(report));
    out.push_str(&missing(report));
    out.push_str(&prescription::section(report));
    out.push_str(&format!(
        "\n{}\n",
        paint(
            DIM,
            format!(
                "steadygrad {}, {} in all; seconds depend on the machine",
                report.version,
                number::duration(report.seconds)
            )
        )
    ));
    out
}

fn header(report: &CureReport) -> String {
    let subject = &report.subject;
    let line = format!(
        "{}: {} · {}, goal {} (trivial predictor {}) · seed {} · {} of {}",
        subject.name,
        subject.description,
        subject.metric,
        number::metric(subject.goal.metric),
        number::metric(subject.goal.trivial),
        report.seed,
        number::count(report.steps, "step"),
        number::count(report.batch_size as u64, "sample"),
    );
    format!(
        "{}{}",
        wrapped(BOLD, &line, "", ""),
        wrapped(outcome_style(report), &facts::headline(report), "", "")
    )
}

fn outcome_style(report: &CureReport) -> Style {
    if report.prescription.is_some() {
        GOOD
    } else {
        WARN
    }
}

fn baseline(report: &CureReport) -> String {
    let Some((_, outcome)) = facts::baseline(report) else {
        return String::new();
    };
    let onset = facts::Onset::of(outcome);
    let detection = match onset.detection {
        Some(seen) => format!(
            "step {}, {}, by {}: {}",
            seen.step,
            seen.place,
            seen.detector.title(),
            seen.message
        ),
        None => "never".into(),
    };
    [
        heading("Baseline"),
        field("first detection", &detection),
        field("first non-finite", &onset.non_finite_sentence()),
        field(
            "end",
            &format!(
                "{}; {}, {} {}",
                facts::end(outcome),
                facts::verdict(outcome),
                report.subject.metric,
                number::metric(outcome.validation_metric)
            ),
        ),
    ]
    .concat()
}

fn derivations(report: &CureReport) -> String {
    let mut out = String::new();
    for trial in &report.trials {
        let (TrialKind::Family(_), Some(remedy), Some(derivation)) =
            (trial.kind, &trial.remedy, &trial.derivation)
        else {
            continue;
        };
        out.push_str(&field(&trial.name, &derivation.formula));
        let measured: Vec<String> = derivation
            .measured
            .iter()
            .map(|evidence| format!("{} {}", evidence.name, number::short(evidence.value)))
            .collect();
        let from = if measured.is_empty() {
            remedy.to_string()
        } else {
            format!("{} => {remedy}", measured.join(", "))
        };
        out.push_str(&field("", &from));
    }
    if out.is_empty() {
        return out;
    }
    heading("How each parameter was computed") + &out
}

fn missing(report: &CureReport) -> String {
    if !report.interrupted {
        return String::new();
    }
    let missing = facts::missing(report);
    let what = if missing.is_empty() {
        "Nothing is missing".into()
    } else {
        format!("Not run: {}", missing.join(", "))
    };
    format!(
        "\n{}",
        wrapped(WARN, &format!("Interrupted. {what}."), "", "  ")
    )
}
