use serde::{Deserialize, Serialize};

use crate::dynamics::{Butterfly, ButterflyError};
use crate::float;

/// The difference between two twins at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Perturbed {
    /// All weights, moved together in one random direction.
    Weights,
    /// The training inputs, each moved in its own random direction, the same at every visit. Of a
    /// sequence, the input of its first time step.
    Inputs,
}

/// Twins that could not be trained or compared, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TwinError {
    /// The perturbation does not change anything.
    #[error(
        "a relative perturbation of {size} makes no twin: give a positive, finite one, and values \
         to move that are not all zero"
    )]
    Perturbation {
        /// The size that was asked for.
        #[serde(with = "float")]
        size: f64,
    },
    /// The subject has no way of moving its inputs.
    #[error(
        "the subject does not say how to move its inputs; implement `Subject::with_moved_inputs`"
    )]
    FixedInputs,
    /// The plan clips gradients by an impossible bound.
    #[error("the twins' gradient clip is {max_norm}; give a positive, finite max_norm")]
    Clip {
        /// The bound.
        #[serde(with = "float")]
        max_norm: f64,
    },
    /// The separations could not be read.
    #[error(transparent)]
    #[serde(untagged)]
    Separation(#[from] ButterflyError),
}

/// Twins that were trained, how they differed, and how they separated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinRun {
    /// What differed at the start.
    pub perturbed: Perturbed,
    /// The relative difference that was asked for.
    #[serde(with = "float")]
    pub requested: f64,
    /// The relative difference at the start. It is larger than `requested` where the numbers cannot
    /// hold that.
    #[serde(with = "float")]
    pub applied: f64,
    /// The resolution of the numbers in training: `f64::EPSILON`, or `f32::EPSILON`.
    #[serde(with = "float")]
    pub resolution: f64,
    /// The number of updates that each twin was to make.
    pub updates: u64,
    /// The number of rows per step.
    pub batch_size: usize,
    /// How the twins separated, or the reason why that is not known.
    pub outcome: Result<Butterfly, TwinError>,
}

impl TwinRun {
    /// The number format of the training: `f64` or `f32`.
    pub fn precision(&self) -> &'static str {
        if self.resolution == f64::EPSILON {
            "f64"
        } else {
            "f32"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_from_json() {
        for (error, text) in [
            (TwinError::FixedInputs, r#""fixed_inputs""#),
            (
                TwinError::Perturbation {
                    size: f64::INFINITY,
                },
                r#"{"perturbation":{"size":"Infinity"}}"#,
            ),
            (
                ButterflyError::NonFinite { step: 3 }.into(),
                r#"{"non_finite":{"step":3}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&error).unwrap(), text);
            assert_eq!(serde_json::from_str::<TwinError>(text).unwrap(), error);
        }
    }
}
