use serde::{Deserialize, Serialize};

use crate::train::Attempts;
use crate::{Plan, Subject, TrainError};

/// Losses that are averaged: a batch's own loss says little.
const LAST: usize = 10;

/// How a run went on from an incident.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct After {
    /// Mean loss of the last ten batches; NaN when one of them is.
    #[serde(with = "steadygrad::float")]
    pub loss: f64,
    /// Validation metric of the last model; NaN when its predictions are not finite.
    #[serde(with = "steadygrad::float")]
    pub validation_metric: f64,
    /// The first step after which the model itself was not finite any more, as far as its loss or
    /// gradients show.
    pub first_non_finite: Option<u64>,
}

/// The same steps with the guard and without: a decision was worth it only if it beats none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counterfactual {
    /// Steps from the incident on, itself included.
    pub steps: u64,
    /// As the guard decided.
    pub with: After,
    /// With every update applied as it came, at the learning rate that the guard had set by then.
    pub without: After,
}

impl Counterfactual {
    /// Whether the model is better with the guard's decisions: a larger validation metric, or a
    /// finite one in the place of none. `None` when the two are the same.
    pub fn worth_it(&self) -> Option<bool> {
        let (with, without) = (self.with.validation_metric, self.without.validation_metric);
        match (with.is_nan(), without.is_nan()) {
            (true, true) => None,
            (false, true) => Some(true),
            (true, false) => Some(false),
            _ if with == without => None,
            _ => Some(with > without),
        }
    }
}

/// Runs `steps` steps twice from the state before an incident, at most to the run's end.
pub(super) fn run<S: Subject>(
    subject: &S,
    plan: &Plan,
    attempts: Attempts<'_, S>,
    model: S::Model,
    first: u64,
    steps: u64,
) -> Result<Counterfactual, TrainError> {
    let end = plan.steps.min(first.saturating_add(steps.max(1)));
    let alone = attempts.clone().unguarded().map_err(TrainError::from)?;
    Ok(Counterfactual {
        steps: end - first,
        with: go_on(subject, attempts, model.clone(), end)?,
        without: go_on(subject, alone, model, end)?,
    })
}

fn go_on<S: Subject>(
    subject: &S,
    mut attempts: Attempts<'_, S>,
    mut model: S::Model,
    end: u64,
) -> Result<After, TrainError> {
    let (mut losses, mut first_non_finite) = (Vec::new(), None);
    while attempts.next_step() < end {
        let drawn = attempts.draw();
        let done = attempts.make(&drawn, model)?;
        model = done.model;
        losses.push(done.loss);
        if done.judgement.decision.applies()
            && !(done.loss.is_finite() && done.reading.gradients.non_finite() == 0)
        {
            first_non_finite.get_or_insert(drawn.step);
        }
    }
    let last = &losses[losses.len().saturating_sub(LAST)..];
    Ok(After {
        loss: last.iter().sum::<f64>() / last.len() as f64,
        validation_metric: subject.validate(&model),
        first_non_finite,
    })
}
