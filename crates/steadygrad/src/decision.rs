//! What is to be done with a step's gradients, or with the update an optimizer made of them.

use serde::{Deserialize, Serialize};

use crate::GradientStats;
use crate::stats::global_norm;

/// What is to be done with this step. The adapter acts on it; nothing else touches the model.
///
/// Lists have one entry a tensor, in the order of the reading they were decided on. A coefficient
/// of exactly 1 leaves its tensor as it is, to the bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Decision {
    /// Apply the gradients as they are, to the bit.
    Keep,
    /// Bring every value into `-max_abs..=max_abs`, infinite ones as well; NaN stays NaN.
    Clamp {
        /// Positive and finite.
        max_abs: f64,
    },
    /// Multiply every gradient by `coefficient`, then apply.
    ScaleGlobal {
        /// In `0..1`.
        coefficient: f64,
    },
    /// Multiply each tensor by its own coefficient.
    ScalePerTensor {
        /// Each in `0..=1`.
        coefficients: Vec<f64>,
    },
    /// Multiply each output unit of each tensor by its own coefficient.
    ScalePerUnit {
        /// One list a tensor, each in `0..=1`; an empty list leaves the tensor as it is.
        coefficients: Vec<Vec<f64>>,
    },
    /// Where `g^2 > ratio v`, with `v` the optimizer's second moment: `g <- sign(g) sqrt(ratio v)`.
    ClampToSecondMoment {
        /// Positive and finite.
        ratio: f64,
    },
    /// Apply nothing and end the run.
    Stop {
        /// Why, for a person.
        reason: String,
    },
}

impl Decision {
    /// One word for a table column.
    pub fn name(&self) -> &'static str {
        match self {
            Decision::Keep => "keep",
            Decision::Clamp { .. } => "clamp",
            Decision::ScaleGlobal { .. } => "scale_global",
            Decision::ScalePerTensor { .. } => "scale_per_tensor",
            Decision::ScalePerUnit { .. } => "scale_per_unit",
            Decision::ClampToSecondMoment { .. } => "clamp_to_second_moment",
            Decision::Stop { .. } => "stop",
        }
    }

    /// Scale each tensor by its coefficient, or keep everything when all are 1.
    pub(crate) fn per_tensor(coefficients: Vec<f64>) -> Self {
        if coefficients.iter().all(|&coefficient| coefficient == 1.0) {
            Self::Keep
        } else {
            Self::ScalePerTensor { coefficients }
        }
    }

    /// The global norm that is left after acting on gradients with these statistics, where the
    /// statistics tell it: not for decisions about single values or units. 0 after a stop.
    pub fn global_norm_after(&self, gradients: &GradientStats) -> Option<f64> {
        let norm = gradients.global_norm();
        match self {
            Self::Keep => Some(norm),
            Self::ScaleGlobal { coefficient } => Some(coefficient * norm),
            Self::ScalePerTensor { coefficients } => {
                let norms = gradients.tensors.iter().zip(coefficients);
                Some(global_norm(norms.map(|(tensor, coefficient)| {
                    tensor.stats.tensor_norm * coefficient
                })))
            }
            Self::Clamp { .. } | Self::ScalePerUnit { .. } | Self::ClampToSecondMoment { .. } => {
                None
            }
            Self::Stop { .. } => Some(0.0),
        }
    }
}
