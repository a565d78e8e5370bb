use steadygrad::dynamics::{
    Axis, Butterfly, ButterflyError, Horizon, Separation, SeparationStep, SeparationSummary,
    TwinQuantity,
};
use steadygrad::probe::{Perturbed, ProbeReport, TwinRun};

use super::Section;
use crate::number;

/// How two almost equal trainings separate.
pub(crate) fn butterfly(run: &TwinRun, axis: Axis) -> Section {
    let section = Section::new(format!(
        "Butterfly: twins whose {} differ by {}",
        perturbed(run.perturbed),
        number::short(run.applied)
    ));
    let section = section.row("the twins", twins(run, axis));
    let found = match &run.outcome {
        Ok(found) => found,
        Err(reason) => return section.not_measured("separation", &reason.to_string()),
    };
    let settings = &found.settings;
    let rows = [&found.loss, &found.weights, &found.gradients]
        .map(|summary| row(found, summary))
        .to_vec();
    let mut section = section.row("verdict", verdict(found));
    for parting in [&found.loss, &found.weights, &found.gradients] {
        // The table shows too few points.
        if let Err(reason) = &parting.exponent
            && !matches!(reason, ButterflyError::TooFewPoints { .. })
        {
            section = section.row(name(parting.quantity), format!("no exponent: {reason}"));
        }
        if let Some(step) = parting.diverged_at {
            section = section.row(
                name(parting.quantity),
                format!("not finite from step {step} on"),
            );
        }
    }
    section
        .table(
            &[
                "apart in",
                "first",
                "last",
                "exponent per step",
                "fitted steps",
                "predictable until step",
            ],
            rows,
        )
        .note(format!(
            "Relative separations over {}. Exponents are fitted between ten times the round-off of \
             {} and {}; ± is one standard error, widened for correlated residuals. Predictable: \
             less than {} apart.",
            number::count(found.steps.len() as u64, "step"),
            number::short(settings.resolution),
            number::short(settings.saturation),
            number::short(settings.tolerance)
        ))
}

/// What differs between the twins, by how much, and how they were trained.
fn twins(run: &TwinRun, axis: Axis) -> String {
    let size = number::short(run.applied);
    let what = match (run.perturbed, axis) {
        (Perturbed::Weights, _) => {
            format!("all weights moved by {size} of their norm, in one random direction")
        }
        (Perturbed::Inputs, Axis::Depth) => {
            format!("each training input moved by {size} of its norm, in its own random direction")
        }
        (Perturbed::Inputs, Axis::Time) => format!(
            "each sequence's first input vector moved by {size} of its norm, in its own random \
             direction"
        ),
    };
    let raised = if run.applied > run.requested {
        format!(
            "; the requested {} is below the round-off of {}",
            number::short(run.requested),
            run.precision()
        )
    } else {
        String::new()
    };
    format!(
        "{what}; {} of {} in {}{raised}",
        number::count(run.updates, "update"),
        number::count(run.batch_size as u64, "row"),
        run.precision()
    )
}

/// The section of a probe without twins.
pub(crate) fn no_butterfly(report: &ProbeReport) -> Option<Section> {
    // Twins need something to train on.
    (report.subject.training_samples > 0).then(not_trained)
}

fn not_trained() -> Section {
    Section::new("Butterfly: how two almost equal trainings separate").not_measured(
        "separation",
        "with so many parameters, training twins takes longer than the rest of the probe; \
         ask for it with --twins",
    )
}

/// The name of what the twins differ in.
pub(crate) fn perturbed(perturbed: Perturbed) -> &'static str {
    match perturbed {
        Perturbed::Weights => "weights",
        Perturbed::Inputs => "inputs",
    }
}

fn row(found: &Butterfly, summary: &SeparationSummary) -> Vec<String> {
    let apart = |step: Option<&SeparationStep>| {
        step.map_or("-".into(), |step| {
            number::short(separation(summary.quantity, step).relative())
        })
    };
    let (exponent, steps) = match &summary.exponent {
        Ok(fit) => (
            number::with_error(fit.rate, Some(fit.standard_error)),
            format!("{} to {}", fit.first_step, fit.last_step),
        ),
        Err(ButterflyError::TooFewPoints { found, needed }) => {
            ("none".into(), format!("{found}, of {needed} needed"))
        }
        Err(_) => ("none".into(), "-".into()),
    };
    vec![
        name(summary.quantity).into(),
        apart(found.steps.first()),
        apart(found.steps.last()),
        exponent,
        steps,
        horizon(summary.horizon),
    ]
}

fn verdict(found: &Butterfly) -> String {
    let weights = &found.weights;
    let parts = match &weights.exponent {
        Ok(fit) if fit.separates() => format!(
            "the twins' weights separate by {} a step",
            number::growth(fit.rate.exp())
        ),
        Ok(_) => "the twins' weights do not separate measurably".into(),
        Err(_) if matches!(weights.horizon, Horizon::Measured { .. }) => {
            "the twins' weights separate within too few steps for an exponent".into()
        }
        Err(_) => "how fast the twins' weights separate is not known".into(),
    };
    let lost = [&found.loss, &found.gradients, weights]
        .into_iter()
        .filter_map(|parting| parting.diverged_at)
        .min();
    let until = match (lost, weights.horizon) {
        (Some(step), _) => format!("the training itself is not finite at step {step}"),
        (None, Horizon::Measured { step }) => format!("predictable until step {step}"),
        (None, Horizon::Extrapolated { step }) => format!(
            "predictable until about step {}, extrapolated",
            number::short(step.ceil())
        ),
        (None, Horizon::NotReached { after }) => {
            format!("still predictable at step {after}, the last")
        }
    };
    format!("{parts}; {until}")
}

fn horizon(horizon: Horizon) -> String {
    match horizon {
        Horizon::Measured { step } => format!("{step}, measured"),
        Horizon::Extrapolated { step } => format!("{}, extrapolated", number::short(step.ceil())),
        Horizon::NotReached { after } => format!("beyond {after}"),
    }
}

/// The name of a separation.
pub(crate) fn name(quantity: TwinQuantity) -> &'static str {
    match quantity {
        TwinQuantity::Loss => "loss",
        TwinQuantity::Weights => "weights",
        TwinQuantity::Gradients => "gradients",
    }
}

fn separation(quantity: TwinQuantity, step: &SeparationStep) -> Separation {
    match quantity {
        TwinQuantity::Loss => step.loss,
        TwinQuantity::Weights => step.weights,
        TwinQuantity::Gradients => step.gradients,
    }
}
