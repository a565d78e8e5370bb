//! What an adapter tells the core about one training step, and the places faults are pinned to.

use serde::{Deserialize, Serialize};

use crate::GradientStats;
use crate::stats::global_norm;

/// Where in the network something was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The run as a whole (for example the loss).
    #[default]
    Run,
    /// One parameter, by its dotted path.
    Parameter(String),
    /// One layer, by its name in the growth profile.
    Layer(String),
    /// One time step of a recurrent network, counted from 0.
    TimeStep(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Run => f.write_str("the whole run"),
            Place::Parameter(name) | Place::Layer(name) => f.write_str(name),
            Place::TimeStep(t) => write!(f, "time step {t}"),
        }
    }
}

/// One step as measured: after the backward pass, before the optimizer.
///
/// What was not measured is an empty list or `None`; every detector that needs it is then silent.
/// Lists may also be shorter than `gradients.tensors`. A negative norm counts as not measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepReading {
    /// Optimizer step, counted from 0. After a rollback it may go back or go on: nothing but
    /// snapshots and records is named by it.
    pub step: u64,
    /// Training loss of this step's batch. May be NaN or infinite.
    pub loss: f64,
    /// Learning rate of the user's schedule, before the guard's scale.
    pub learning_rate: f64,
    /// Statistics of the gradients as the backward pass left them.
    pub gradients: GradientStats,
    /// L2 norm of each parameter's weights, in the order of `gradients.tensors`.
    pub weight_norms: Vec<f64>,
    /// L2 norm of the change that the optimizer made to each parameter at the *previous* step.
    pub update_norms: Vec<f64>,
    /// Loss of the previous step's batch, measured again after that step was applied.
    pub loss_after: Option<f64>,
    /// Natural logarithm of the gradient's growth per layer, from the output to the input.
    pub depth_growth: Option<f64>,
    /// Natural logarithm of the gradient's growth per time step, backwards.
    pub time_growth: Option<f64>,
}

impl StepReading {
    /// What every adapter measures; the rest is not measured until it is set.
    pub fn new(step: u64, loss: f64, learning_rate: f64, gradients: GradientStats) -> Self {
        Self {
            step,
            loss,
            learning_rate,
            gradients,
            ..Self::default()
        }
    }

    /// With the L2 norm of each parameter's weights.
    #[must_use]
    pub fn with_weight_norms(self, weight_norms: Vec<f64>) -> Self {
        Self {
            weight_norms,
            ..self
        }
    }

    /// With the L2 norm of the previous step's change of each parameter.
    #[must_use]
    pub fn with_update_norms(self, update_norms: Vec<f64>) -> Self {
        Self {
            update_norms,
            ..self
        }
    }

    /// L2 norm of all measured weights together, NaN or infinite when any is; `None` when none was measured.
    pub fn weight_norm(&self) -> Option<f64> {
        total(&self.weight_norms)
    }

    /// With the loss of the previous batch after its step.
    #[must_use]
    pub fn with_loss_after(self, loss_after: f64) -> Self {
        Self {
            loss_after: Some(loss_after),
            ..self
        }
    }
}

/// The norm of all parts together; a negative part was not measured.
pub(crate) fn total(norms: &[f64]) -> Option<f64> {
    let measured = |norm: &f64| norm.is_nan() || *norm >= 0.0;
    let mut norms = norms.iter().copied().filter(measured).peekable();
    norms.peek().is_some().then(|| global_norm(norms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_odd_rows() {
        assert_eq!(total(&[]), None);
        assert_eq!(total(&[-7.0]), None);
        assert_eq!(total(&[0.0]), Some(0.0));
        assert_eq!(total(&[3.0, -7.0, 4.0]), Some(5.0));
        assert!(total(&[1.0, f64::NAN]).is_some_and(f64::is_nan));
        assert_eq!(total(&[1.0, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(total(&[f64::NEG_INFINITY, 2.0]), Some(2.0));
    }
}
