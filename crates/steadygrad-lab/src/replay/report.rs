use serde::{Deserialize, Serialize};
use steadygrad::guard::Incident;

use super::counterfactual::Counterfactual;
use super::locate::{Culprit, Pass};

/// Relative difference of gradient norms above which round-off counts: a hundred times the
/// round-off of an f32 sum of a million terms (2^-24 times the square root of a million).
const ROUND_OFF: f64 = 6e-3;

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The incident.
    pub incident: Incident,
    /// The step that the replay started from; 0 is the start of the run.
    pub from_step: u64,
    /// Number of recorded steps that were compared.
    pub compared: u64,
    /// The first difference from the record; `None` if the replay equals it to the bit.
    pub difference: Option<Difference>,
    /// The first operation that failed in the incident's step; `None` if all values are in
    /// proportion.
    pub culprit: Option<Culprit>,
    /// The same step in f64, if [`in_f64`](super::ReplayOptions::in_f64) is set.
    pub in_f64: Option<InF64>,
    /// The run with and without the guard, if
    /// [`without_decision`](super::ReplayOptions::without_decision) is set.
    pub counterfactual: Option<Counterfactual>,
}

/// A difference between a replay and the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Difference {
    /// The first step that differs.
    pub step: u64,
    /// What differs: the loss, the gradient norm, or the rows of the batch.
    pub what: String,
    /// The value in the record.
    #[serde(with = "steadygrad::float")]
    pub recorded: f64,
    /// The value in the replay.
    #[serde(with = "steadygrad::float")]
    pub replayed: f64,
}

/// The incident's step in the run's number format and in f64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InF64 {
    /// Loss in the run's format, by Burn's operations.
    #[serde(with = "steadygrad::float")]
    pub loss: f64,
    /// Loss in f64.
    #[serde(with = "steadygrad::float")]
    pub loss_f64: f64,
    /// Global gradient norm in the run's format, after the backward pass.
    #[serde(with = "steadygrad::float")]
    pub grad_norm: f64,
    /// Global gradient norm in f64.
    #[serde(with = "steadygrad::float")]
    pub grad_norm_f64: f64,
    /// What follows from these numbers.
    pub origin: Origin,
}

/// Where an incident comes from, as far as a step in f64 can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// f64 is not finite either: the data or the weights were broken before the step.
    Input,
    /// Only f64 is finite: the values are beyond the range of the number format.
    NumberFormat,
    /// f64 gives the same numbers: the cause is the training or its data.
    Training,
    /// Both are finite and they differ: round-off of an ill-conditioned step, or a kernel.
    RoundOff,
}

impl InF64 {
    pub(super) fn compare(own: &Pass, in_f64: &Pass) -> Self {
        let origin = match (own.is_finite(), in_f64.is_finite()) {
            (_, false) => Origin::Input,
            (false, true) => Origin::NumberFormat,
            (true, true) => {
                let difference = (own.grad_norm / in_f64.grad_norm - 1.0).abs();
                if difference <= ROUND_OFF || own.grad_norm == in_f64.grad_norm {
                    Origin::Training
                } else {
                    Origin::RoundOff
                }
            }
        };
        Self {
            loss: own.loss,
            loss_f64: in_f64.loss,
            grad_norm: own.grad_norm,
            grad_norm_f64: in_f64.grad_norm,
            origin,
        }
    }
}
