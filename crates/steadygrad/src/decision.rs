//! What to do with a step's gradients, or with the update that an optimizer made of them.

use serde::{Deserialize, Serialize};

use crate::GradientStats;
use crate::stats::global_norm;

/// What to do with this step. The adapter acts on it; nothing else touches the model.
///
/// Lists have one entry a tensor, in the order of the reading that the decision is about. A
/// coefficient of exactly 1 leaves its tensor as it is, to the bit.
///
/// The enum is closed: an adapter must act on every decision, so a new one breaks its build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Decision {
    /// Apply the gradients as they are, to the bit.
    Keep,
    /// Bring every value, infinite ones too, into `-max_abs..=max_abs`. NaN stays NaN.
    Clamp {
        /// The largest absolute value; positive and finite.
        max_abs: f64,
    },
    /// Multiply every gradient by `coefficient`, then apply.
    ScaleGlobal {
        /// The factor, in `0..1`.
        coefficient: f64,
    },
    /// Multiply each tensor by its own coefficient.
    ScalePerTensor {
        /// One factor a tensor, each in `0..=1`.
        coefficients: Vec<f64>,
    },
    /// Multiply each output unit of each tensor by its own coefficient.
    ScalePerUnit {
        /// One list of factors a tensor, each factor in `0..=1`. An empty list leaves its tensor as
        /// it is.
        coefficients: Vec<Vec<f64>>,
    },
    /// Where `g^2 > ratio v`, with `v` the optimizer's second moment: `g <- sign(g) sqrt(ratio v)`.
    ClampToSecondMoment {
        /// The largest ratio; positive and finite.
        ratio: f64,
    },
    /// Do not apply this step: neither the weights nor the optimizer's state change.
    Skip {
        /// Why, for a person.
        reason: String,
    },
    /// Do not apply this step, and lower the learning rate from now on: see
    /// [`Guard::learning_rate_scale`](crate::Guard::learning_rate_scale).
    LowerLearningRate {
        /// The factor on the scale of the learning rate, in `0..1`.
        factor: f64,
        /// Why, for a person.
        reason: String,
    },
    /// Do not apply this step. Restore the snapshot that was taken before step `to_step`, and go on
    /// with the next batch: the batches that led here are dropped.
    Rollback {
        /// The step whose snapshot to restore.
        to_step: u64,
        /// Why, for a person.
        reason: String,
    },
    /// Apply nothing and end the run.
    Stop {
        /// Why, for a person.
        reason: String,
    },
}

impl Decision {
    /// Its name as one word, for a table column.
    pub fn name(&self) -> &'static str {
        match self {
            Decision::Keep => "keep",
            Decision::Clamp { .. } => "clamp",
            Decision::ScaleGlobal { .. } => "scale_global",
            Decision::ScalePerTensor { .. } => "scale_per_tensor",
            Decision::ScalePerUnit { .. } => "scale_per_unit",
            Decision::ClampToSecondMoment { .. } => "clamp_to_second_moment",
            Decision::Skip { .. } => "skip",
            Decision::LowerLearningRate { .. } => "lower_learning_rate",
            Decision::Rollback { .. } => "rollback",
            Decision::Stop { .. } => "stop",
        }
    }

    /// Whether the optimizer steps, on gradients changed or not.
    pub fn applies(&self) -> bool {
        self.reason().is_none()
    }

    /// Why the step is not applied; `None` for a decision that applies it.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Decision::Skip { reason }
            | Decision::LowerLearningRate { reason, .. }
            | Decision::Rollback { reason, .. }
            | Decision::Stop { reason } => Some(reason),
            Decision::Keep
            | Decision::Clamp { .. }
            | Decision::ScaleGlobal { .. }
            | Decision::ScalePerTensor { .. }
            | Decision::ScalePerUnit { .. }
            | Decision::ClampToSecondMoment { .. } => None,
        }
    }

    /// Scales each tensor by its coefficient; [`Decision::Keep`] when all are 1.
    pub(crate) fn per_tensor(coefficients: Vec<f64>) -> Self {
        if coefficients.iter().all(|&coefficient| coefficient == 1.0) {
            Self::Keep
        } else {
            Self::ScalePerTensor { coefficients }
        }
    }

    /// The global norm of gradients with these statistics after the decision; 0 when the step is
    /// not applied. `None` for decisions about single values or units, whose effect the statistics
    /// do not show.
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
            Self::Skip { .. }
            | Self::LowerLearningRate { .. }
            | Self::Rollback { .. }
            | Self::Stop { .. } => Some(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{NamedStats, TensorStats};

    #[test]
    fn the_global_norm_after_each_decision() {
        let tensors = [("a", 3.0f32), ("b", 4.0)].map(|(name, value)| NamedStats {
            name: name.into(),
            stats: TensorStats::of(&[value]),
        });
        let gradients = GradientStats {
            tensors: tensors.to_vec(),
        };
        let after = |decision: Decision| decision.global_norm_after(&gradients);
        assert_eq!(after(Decision::Keep), Some(5.0));
        assert_eq!(after(Decision::ScaleGlobal { coefficient: 0.1 }), Some(0.5));
        let coefficients = vec![0.0, 0.5];
        assert_eq!(after(Decision::ScalePerTensor { coefficients }), Some(2.0));
        assert_eq!(after(Decision::Clamp { max_abs: 1.0 }), None);
        assert_eq!(
            after(Decision::Stop {
                reason: String::new()
            }),
            Some(0.0)
        );
    }

    #[test]
    fn coefficients_of_one_are_no_decision() {
        assert_eq!(Decision::per_tensor(vec![1.0, 1.0]), Decision::Keep);
        assert_eq!(Decision::per_tensor(vec![]), Decision::Keep);
        let coefficients = vec![1.0, 0.5];
        assert_eq!(
            Decision::per_tensor(coefficients.clone()),
            Decision::ScalePerTensor { coefficients }
        );
    }

    #[test]
    fn every_decision_has_a_name_of_its_own() {
        let all = [
            Decision::Keep,
            Decision::Clamp { max_abs: 1.0 },
            Decision::ScaleGlobal { coefficient: 0.5 },
            Decision::ScalePerTensor {
                coefficients: vec![],
            },
            Decision::ScalePerUnit {
                coefficients: vec![],
            },
            Decision::ClampToSecondMoment { ratio: 1.0 },
        ];
        let reason = String::new;
        let withheld = [
            Decision::Skip { reason: reason() },
            Decision::LowerLearningRate {
                factor: 0.5,
                reason: reason(),
            },
            Decision::Rollback {
                to_step: 3,
                reason: reason(),
            },
            Decision::Stop { reason: reason() },
        ];
        assert!(all.iter().all(Decision::applies));
        assert!(!withheld.iter().any(Decision::applies));
        for decision in all.into_iter().chain(withheld) {
            // The name in a step's row is the tag in the JSON.
            let json = serde_json::to_value(&decision).unwrap();
            assert_eq!(json["kind"], decision.name());
        }
    }
}
