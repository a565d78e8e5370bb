use steadygrad_lab::{Continuation, Counterfactual, Culprit, InF64, Origin, ReplayReport, Stage};

use crate::lines::Lines;

/// Number of samples that the text names; the JSON has all.
const NAMED: usize = 8;

/// A replay in a few lines.
pub(crate) fn text(report: &ReplayReport, number: u32) -> String {
    let mut lines = Lines::default();
    let incident = &report.incident;
    let judgement = &incident.judgement;
    lines.add(
        &format!("incident {number}"),
        format!("step {}: {}", incident.step, judgement.decision.name()),
    );
    for detection in &judgement.detections {
        lines.add("", &detection.message);
    }
    lines.add("replayed", replayed(report));
    match &report.culprit {
        None => lines.add(
            "first failure",
            "none: no value is out of proportion to the step before",
        ),
        Some(found) => culprit(&mut lines, found),
    }
    if let Some(numbers) = &report.in_f64 {
        in_f64(&mut lines, numbers);
    }
    if let Some(runs) = &report.counterfactual {
        counterfactual(&mut lines, runs);
    }
    lines.into_text()
}

fn replayed(report: &ReplayReport) -> String {
    let from = match report.from_step {
        0 => "the start of the run".to_owned(),
        step => format!("the snapshot of step {step}"),
    };
    match &report.difference {
        None => format!(
            "from {from}; the {} recorded steps have the same batches, losses and norms to the bit",
            report.compared
        ),
        Some(found) => format!(
            "from {from}; at step {} {} is {:e}, but {:e} in the record: the build, the machine or \
             the memory differs, or a kernel does not repeat its results",
            found.step, found.what, found.replayed, found.recorded
        ),
    }
}

fn culprit(lines: &mut Lines, culprit: &Culprit) {
    let place = match culprit.stage {
        Stage::Weights => format!("the weights `{}`, before the step", culprit.layer),
        _ => format!("{}: {}", culprit.layer, culprit.operation),
    };
    lines.add("first failure", place);
    let usual = match culprit.usual {
        Some(usual) => format!(" (in the step before up to {usual:.3e})"),
        None => String::new(),
    };
    let largest = culprit.largest;
    lines.add(
        "",
        match culprit.non_finite {
            0 => format!("values up to {largest:.3e}{usual}"),
            count => {
                format!("{count} values are NaN or infinite, the others up to {largest:.3e}{usual}")
            }
        },
    );
    if !culprit.samples.is_empty() {
        let samples = culprit.samples.iter().take(NAMED);
        let named: Vec<String> = samples.map(u64::to_string).collect();
        let more = match culprit.samples.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = named.join(", ");
        lines.add("", format!("rows of the training data: {named}{more}"));
    }
    if culprit.passed_on > 0 {
        let places = culprit.passed_on;
        lines.add("", format!("{places} later places have such values too"));
    }
}

fn in_f64(lines: &mut Lines, found: &InF64) {
    lines.add(
        "in f64",
        format!(
            "loss {:.6e} ({:.6e} in the run), gradient norm {:.6e} ({:.6e})",
            found.loss_f64, found.loss, found.grad_norm_f64, found.grad_norm
        ),
    );
    let origin = match found.origin {
        Origin::Input => {
            "not finite in f64 either: the step's data or weights were broken before, or it is \
             beyond every number format"
        }
        Origin::NumberFormat => "finite in f64: the number format cannot hold the step",
        Origin::Training => "the same in f64: the cause is the training or its data",
        _ => "finite in both, but different: round-off of an ill-conditioned step, or a kernel",
    };
    lines.add("", origin);
}

fn counterfactual(lines: &mut Lines, runs: &Counterfactual) {
    for (label, run) in [("with guard", &runs.with), ("without guard", &runs.without)] {
        lines.add(label, format!("after {} steps {}", runs.steps, state(run)));
    }
    let worth = match runs.worth_it() {
        Some(true) => "the decision was worth it",
        Some(false) => "the decision was not worth it",
        None => "the decision made no difference",
    };
    lines.add("", worth);
}

fn state(run: &Continuation) -> String {
    let broken = match run.first_non_finite {
        Some(step) => format!(", not finite from step {step} on"),
        None => String::new(),
    };
    format!(
        "loss {:.4e}, validation {:.4}{broken}",
        run.loss, run.validation_metric
    )
}
