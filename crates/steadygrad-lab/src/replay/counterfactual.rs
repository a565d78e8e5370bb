use serde::{Deserialize, Serialize};

use crate::train::Attempts;
use crate::{Plan, Subject, TrainError};

/// Number of losses that are averaged: one batch's loss depends much on chance.
const LAST: usize = 10;

/// A run after an incident.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Continuation {
    /// Mean loss of the last ten batches; NaN if one of them is NaN.
    #[serde(with = "steadygrad::float")]
    pub loss: f64,
    /// Validation metric of the last model; NaN if its predictions are not finite.
    #[serde(with = "steadygrad::float")]
    pub validation_metric: f64,
    /// The first step whose applied update came from a non-finite loss or gradient.
    pub first_non_finite: Option<u64>,
}

/// The same steps with and without the guard.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counterfactual {
    /// Number of steps, beginning with the incident's.
    pub steps: u64,
    /// With the guard's decisions.
    pub with: Continuation,
    /// With every update applied, at the learning rate that the guard had set before the incident.
    pub without: Continuation,
}

impl Counterfactual {
    /// Whether the guard's decisions gave the better model: the one with the larger validation
    /// metric, or the only one with a finite metric. `None` if both are equal.
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

/// Continues twice from the state before an incident, for `steps` steps or to the run's end.
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
        with: continue_to(subject, attempts, model.clone(), end)?,
        without: continue_to(subject, alone, model, end)?,
    })
}

fn continue_to<S: Subject>(
    subject: &S,
    mut attempts: Attempts<'_, S>,
    mut model: S::Model,
    end: u64,
) -> Result<Continuation, TrainError> {
    let (mut losses, mut first_non_finite) = (Vec::new(), None);
    while attempts.next_step() < end {
        let input = attempts.draw();
        let done = attempts.make(&input, model)?;
        model = done.model;
        losses.push(done.loss);
        if done.judgement.decision.applies()
            && !(done.loss.is_finite() && done.reading.gradients.non_finite() == 0)
        {
            first_non_finite.get_or_insert(input.step);
        }
    }
    let last = &losses[losses.len().saturating_sub(LAST)..];
    Ok(Continuation {
        loss: last.iter().sum::<f64>() / last.len() as f64,
        validation_metric: subject.validate(&model),
        first_non_finite,
    })
}
