//! What an adapter tells the core about one training step, and the places faults are pinned to.

use serde::{Deserialize, Serialize};

use crate::GradientStats;

/// Where in the network something was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The run as a whole (for example the loss).
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
#[derive(Debug, Clone, PartialEq)]
pub struct StepReading {
    /// Optimizer step, counted from 0.
    pub step: u64,
    /// Training loss of this step's batch. May be NaN or infinite.
    pub loss: f64,
    /// Learning rate that the optimizer would use.
    pub learning_rate: f64,
    /// Statistics of the gradients as the backward pass left them.
    pub gradients: GradientStats,
    /// L2 norm of each parameter's weights, in the order of `gradients.tensors`.
    /// May be shorter (a gap in the measurement): such parameters have no update ratio.
    pub weight_norms: Vec<f64>,
}
