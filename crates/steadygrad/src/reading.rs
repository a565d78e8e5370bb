//! What an adapter measures at one training step, and the places that a fault can be at.

use serde::{Deserialize, Serialize};

use crate::GradientStats;
use crate::stats::global_norm;

/// Where in the network something was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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

/// One training step as measured after the backward pass, before the optimizer.
///
/// A number that was not measured is `None`, and a list of them is empty: every detector that needs
/// it is then silent. Lists may also be shorter than `gradients.tensors`. A negative norm counts as
/// not measured. NaN and infinite values are allowed everywhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepReading {
    /// Optimizer step, counted from 0. It names snapshots and records, and nothing else: after a
    /// rollback it may go back or go on.
    pub step: u64,
    /// Training loss of this step's batch.
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
    /// A reading of what every adapter measures. The rest counts as not measured until it is set.
    pub fn new(step: u64, loss: f64, learning_rate: f64, gradients: GradientStats) -> Self {
        Self {
            step,
            loss,
            learning_rate,
            gradients,
            ..Self::default()
        }
    }

    /// Sets the L2 norm of each parameter's weights.
    #[must_use]
    pub fn with_weight_norms(self, weight_norms: Vec<f64>) -> Self {
        Self {
            weight_norms,
            ..self
        }
    }

    /// Sets the L2 norm of the change that the previous step made to each parameter.
    #[must_use]
    pub fn with_update_norms(self, update_norms: Vec<f64>) -> Self {
        Self {
            update_norms,
            ..self
        }
    }

    /// Sets the loss of the previous step's batch after that step.
    #[must_use]
    pub fn with_loss_after(self, loss_after: f64) -> Self {
        Self {
            loss_after: Some(loss_after),
            ..self
        }
    }

    /// L2 norm of all measured weights together, NaN or infinite when any is; `None` when none was
    /// measured.
    pub fn weight_norm(&self) -> Option<f64> {
        total_norm(&self.weight_norms)
    }

    /// The place of a parameter by its position, and its name for a message.
    pub(crate) fn parameter(&self, index: usize) -> (Place, String) {
        match self.gradients.tensors.get(index) {
            Some(tensor) => {
                let name = format!("`{}`", tensor.name);
                (Place::Parameter(tensor.name.clone()), name)
            }
            None => (Place::Run, format!("parameter {index}")),
        }
    }
}

/// L2 norm of all parts together, NaN or infinite when any is. A negative part was not measured;
/// `None` when none was.
pub(crate) fn total_norm(norms: &[f64]) -> Option<f64> {
    let measured = |norm: &f64| norm.is_nan() || *norm >= 0.0;
    let mut norms = norms.iter().copied().filter(measured).peekable();
    norms.peek().is_some().then(|| global_norm(norms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_odd_rows() {
        assert_eq!(total_norm(&[]), None);
        assert_eq!(total_norm(&[-7.0]), None);
        assert_eq!(total_norm(&[0.0]), Some(0.0));
        assert_eq!(total_norm(&[3.0, -7.0, 4.0]), Some(5.0));
        assert!(total_norm(&[1.0, f64::NAN]).is_some_and(f64::is_nan));
        assert_eq!(total_norm(&[1.0, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(total_norm(&[f64::NEG_INFINITY, 2.0]), Some(2.0));
    }
}
