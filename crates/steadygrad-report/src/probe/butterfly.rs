use steadygrad::dynamics::{Butterfly, Horizon, Parting, Separation, SeparationStep, Series};
use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// How two almost equal trainings part.
pub(crate) fn butterfly(report: &ProbeReport) -> Section {
    let section = Section::new("Butterfly: how two almost equal trainings part");
    let Some(found) = &report.butterfly else {
        return section.not_measured("separation", "no twins were trained");
    };
    let settings = &found.settings;
    let rows = [&found.loss, &found.weights, &found.gradients]
        .map(|parting| row(found, parting))
        .to_vec();
    let mut section = section.row("verdict", verdict(&found.weights));
    for parting in [&found.loss, &found.weights, &found.gradients] {
        if let Err(reason) = &parting.exponent {
            section = section.row(name(parting.series), format!("no exponent: {reason}"));
        }
        if let Some(step) = parting.diverged_at {
            section = section.row(
                name(parting.series),
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

fn row(found: &Butterfly, parting: &Parting) -> Vec<String> {
    let apart = |step: Option<&SeparationStep>| {
        step.map_or("-".into(), |step| {
            number::short(separation(parting.series, step).relative())
        })
    };
    let (exponent, steps) = match &parting.exponent {
        Ok(fit) => (
            number::with_error(fit.rate, Some(fit.standard_error)),
            format!("{} to {}", fit.first_step, fit.last_step),
        ),
        Err(_) => ("-".into(), "-".into()),
    };
    vec![
        name(parting.series).into(),
        apart(found.steps.first()),
        apart(found.steps.last()),
        exponent,
        steps,
        horizon(parting.horizon),
    ]
}

fn verdict(weights: &Parting) -> String {
    let parts = match &weights.exponent {
        Ok(fit) if fit.parts() => format!(
            "the twins' weights part by {} a step",
            number::growth(fit.rate.exp())
        ),
        Ok(_) => "the twins' weights do not part measurably".into(),
        Err(_) => "how fast the twins' weights part is not known".into(),
    };
    let until = match weights.horizon {
        Horizon::Measured { step } => format!("predictable until step {step}"),
        Horizon::Extrapolated { step } => format!(
            "predictable until about step {}, extrapolated",
            number::short(step.ceil())
        ),
        Horizon::NotReached { after } => format!("still predictable at step {after}, the last"),
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

/// What is apart.
pub(crate) fn name(series: Series) -> &'static str {
    match series {
        Series::Loss => "loss",
        Series::Weights => "weights",
        Series::Gradients => "gradients",
    }
}

fn separation(series: Series, step: &SeparationStep) -> Separation {
    match series {
        Series::Loss => step.loss,
        Series::Weights => step.weights,
        Series::Gradients => step.gradients,
    }
}
