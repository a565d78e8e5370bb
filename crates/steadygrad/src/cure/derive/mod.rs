//! The six families' parameters, each computed from what was measured. One family a file.

mod clip;
mod initialize;
mod normalize;
mod regularize;
mod simplify;
mod slow_down;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::Evidence;
use crate::dynamics::Activation;
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Family, Remedy};

/// How a parameter was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Derivation {
    /// The formula, with the measured names in it.
    pub formula: String,
    /// The measured numbers that went in.
    pub measured: Vec<Evidence>,
}

/// Why a family has nothing to offer here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApplicable {
    /// The model cannot be changed in this way.
    #[error("the subject does not support it: {0}")]
    Unsupported(String),
    /// A measurement it needs is missing.
    #[error("{0} could not be measured")]
    NotMeasured(&'static str),
    /// What it would mend is not broken.
    #[error("{0}")]
    NothingToMend(String),
}

impl NotApplicable {
    fn without_critical_gain(activation: Activation) -> Self {
        NotApplicable::Unsupported(format!(
            "{} has no critical weight scale: without biases its signal dies out or explodes",
            activation.name()
        ))
    }
}

/// What a derivation may look at.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// Measured at initialisation.
    pub measurements: &'a Measurements,
    /// How the run was set up.
    pub setup: &'a TrainingSetup,
    /// How the untreated run went; `None` before there was one.
    pub baseline: Option<&'a Outcome>,
}

/// Computes a family's parameter.
///
/// # Errors
/// [`NotApplicable`] when the measurements give it nothing to work with.
pub fn derive(family: Family, basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    match family {
        Family::Clip => clip::derive(basis),
        Family::Regularize => regularize::derive(basis),
        Family::Initialize => initialize::derive(basis),
        Family::Normalize => normalize::derive(basis),
        Family::Simplify => simplify::derive(basis),
        Family::SlowDown => slow_down::derive(basis),
    }
}

/// How far a growth product may run before something must bound it: the tenfold ratio across
/// layers of SageMaker Debugger's PoorWeightInitialization rule.
const SAFE_PRODUCT: f64 = 10.0;

/// The number of steps of this growth factor until the product reaches [`SAFE_PRODUCT`].
fn steps_within_safe_product(rate: f64) -> f64 {
    SAFE_PRODUCT.ln() / rate.ln()
}
