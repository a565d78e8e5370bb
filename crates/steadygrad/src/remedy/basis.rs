use serde::{Deserialize, Serialize};

use crate::Evidence;
use crate::dynamics::Activation;
use crate::measurements::{Measurements, TrainingSetup};
use crate::outcome::Outcome;

/// What the parameters of a remedy are computed from.
///
/// ```no_run
/// # fn example(measurements: &steadygrad::measurements::Measurements,
/// #     setup: &steadygrad::measurements::TrainingSetup) {
/// use steadygrad::remedy::{Basis, REMEDIES};
///
/// let basis = Basis::new(measurements, setup);
/// for kind in REMEDIES {
///     match kind.derive(basis) {
///         Ok((remedy, derivation)) => println!("{remedy}: {}", derivation.formula),
///         Err(reason) => println!("{}: {reason}", kind.name),
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Basis<'a> {
    /// What was measured at initialisation.
    pub measurements: &'a Measurements,
    /// How the run was set up.
    pub setup: &'a TrainingSetup,
    /// How the untreated run went; `None` before there was one.
    pub baseline: Option<&'a Outcome>,
    /// The optimizer's name; `None` where it is not known.
    pub optimizer: Option<&'a str>,
}

impl<'a> Basis<'a> {
    /// What is known before the first step.
    pub fn new(measurements: &'a Measurements, setup: &'a TrainingSetup) -> Self {
        Self {
            measurements,
            setup,
            baseline: None,
            optimizer: None,
        }
    }

    /// With the outcome of the untreated run.
    #[must_use]
    pub fn with_baseline(self, baseline: &'a Outcome) -> Self {
        Self {
            baseline: Some(baseline),
            ..self
        }
    }

    /// With the optimizer's name, `sgd` where the sharpness bounds the learning rate.
    #[must_use]
    pub fn with_optimizer(self, optimizer: &'a str) -> Self {
        Self {
            optimizer: Some(optimizer),
            ..self
        }
    }

    /// The share of its input that a residual block hands on; `None` for a network of plain layers.
    pub(super) fn residual_share(&self) -> Option<f64> {
        let share = self.measurements.skip_share;
        share.filter(|_| self.measurements.is_residual())
    }
}

/// How a parameter was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Derivation {
    /// The formula, with the measured names in it.
    pub formula: String,
    /// The measured numbers that went in.
    pub measured: Vec<Evidence>,
}

/// Why a remedy has nothing to offer here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotApplicable {
    /// Another remedy of the family is for models of this kind. The race leaves this one out.
    #[error("it is for {0}")]
    AnotherModel(&'static str),
    /// The model cannot be changed in this way.
    #[error("the subject does not support it: {0}")]
    Unsupported(String),
    /// A measurement it needs is missing.
    #[error("{0} could not be measured")]
    NotMeasured(&'static str),
    /// What it needs is known for another optimizer only.
    #[error("the sharpness bounds the learning rate of sgd, not of {optimizer}")]
    AnotherOptimizer {
        /// The name of the run's optimizer.
        optimizer: String,
    },
    /// What it would mend is not broken.
    #[error("{0}")]
    NothingToMend(String),
}

impl NotApplicable {
    pub(super) fn without_critical_gain(activation: Activation) -> Self {
        NotApplicable::Unsupported(format!(
            "{} has no critical weight scale: without biases its signal dies out or explodes",
            activation.name()
        ))
    }
}
