use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::stats::{TensorStats, global_norm};

/// What a policy has to know of each tensor, beside its statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Needs {
    /// Nothing more.
    Stats,
    /// Norms of each output unit of the gradient and of the weights: [`TensorReading::units`].
    UnitNorms,
    /// How many values lie beyond `sqrt(ratio v)`: [`TensorReading::beyond_second_moment`].
    SecondMoment {
        /// The squared gradient's allowed multiple of the second moment.
        ratio: f64,
    },
    /// `sqrt(mean(g^2 / max(v, eps^2)))`: [`TensorReading::update_rms`].
    UpdateRms {
        /// The floor under `sqrt(v)`.
        eps: f64,
    },
    /// `min_i (relative |w_i| + accumulator / sqrt(v_i) + absolute) / |update_i|`:
    /// [`TensorReading::headroom`].
    Headroom {
        /// Share of the weight's size.
        relative: f64,
        /// Multiple of `1 / sqrt(v)`.
        accumulator: f64,
        /// What is allowed to a weight of zero.
        absolute: f64,
    },
}

/// The norms of one output unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnitNorms {
    /// L2 norm of the unit's gradient.
    pub gradient: f64,
    /// L2 norm of the unit's weights.
    pub weight: f64,
}

/// One tensor, as a policy sees it. What was not measured is `None` or empty, and the policies
/// that need it leave the tensor as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorReading {
    /// Statistics of the gradient.
    pub stats: TensorStats,
    /// One entry an output unit.
    pub units: Vec<UnitNorms>,
    /// How many values have `g^2 > ratio v`.
    pub beyond_second_moment: Option<u64>,
    /// Root mean square of the gradient over its second moment.
    pub update_rms: Option<f64>,
    /// How many times over the update fits into what is allowed.
    pub headroom: Option<f64>,
}

impl From<TensorStats> for TensorReading {
    fn from(stats: TensorStats) -> Self {
        Self {
            stats,
            ..Self::default()
        }
    }
}

/// All tensors of one step, in the adapter's order, which stays the same from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClipReading {
    /// One entry a tensor.
    pub tensors: Vec<TensorReading>,
}

impl ClipReading {
    /// From statistics alone.
    pub fn from_stats(stats: impl IntoIterator<Item = TensorStats>) -> Self {
        Self {
            tensors: stats.into_iter().map(TensorReading::from).collect(),
        }
    }

    /// The L2 norm over all tensors: NaN or infinite when any value is.
    pub fn global_norm(&self) -> f64 {
        global_norm(self.tensors.iter().map(|tensor| tensor.stats.tensor_norm))
    }

    /// The largest absolute value over all tensors: NaN or infinite when any value is.
    pub fn max_abs(&self) -> f64 {
        self.tensors.iter().fold(0.0, |max, tensor| {
            if tensor.stats.non_finite == 0 && !f64::is_nan(max) {
                tensor.stats.max_abs.max(max)
            } else {
                // The norm tells which: NaN, else infinite.
                tensor.stats.tensor_norm + max
            }
        })
    }

    /// How many values are NaN or infinite.
    pub fn non_finite(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.stats.non_finite)
            .sum()
    }

    /// The statistics after acting on a decision, where they follow from those before: scaling by
    /// the tensor. `None` where the tensors have to be read again.
    pub(super) fn after(&self, decision: &Decision) -> Option<Self> {
        let coefficient = |index: usize| match decision {
            Decision::ScaleGlobal { coefficient } => Some(*coefficient),
            Decision::ScalePerTensor { coefficients } => coefficients.get(index).copied(),
            _ => None,
        };
        match decision {
            Decision::Keep => Some(self.clone()),
            Decision::ScaleGlobal { .. } | Decision::ScalePerTensor { .. } => Some(
                Self::from_stats(self.tensors.iter().enumerate().map(|(index, tensor)| {
                    let coefficient = coefficient(index).unwrap_or(1.0);
                    TensorStats {
                        tensor_norm: tensor.stats.tensor_norm * coefficient,
                        max_abs: tensor.stats.max_abs * coefficient,
                        ..tensor.stats
                    }
                })),
            ),
            _ => None,
        }
    }
}

/// The gradients of one step, wherever they lie: an adapter measures them and acts on decisions.
pub trait Gradients {
    /// Why measuring or acting failed.
    type Error;

    /// Measures what the policy needs, in one pass.
    ///
    /// # Errors
    /// When the tensors cannot be read.
    fn read(&mut self, needs: Needs) -> Result<ClipReading, Self::Error>;

    /// Acts on a decision.
    ///
    /// # Errors
    /// When the tensors cannot be written.
    fn apply(&mut self, decision: &Decision) -> Result<(), Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rows: &[&[f32]]) -> ClipReading {
        ClipReading::from_stats(rows.iter().map(|&row| TensorStats::of(row)))
    }

    #[test]
    fn the_largest_value_is_as_broken_as_the_values() {
        assert_eq!(reading(&[]).max_abs(), 0.0);
        assert_eq!(reading(&[&[f32::INFINITY]]).max_abs(), f64::INFINITY);
        assert_eq!(reading(&[&[1.0, -3.0], &[2.0]]).max_abs(), 3.0);
        assert_eq!(
            reading(&[&[1.0], &[f32::NEG_INFINITY], &[2.0]]).max_abs(),
            f64::INFINITY
        );
        for rows in [
            [&[f32::NAN, 1.0], &[2.0, 2.0]],
            [&[2.0, 2.0], &[f32::NAN, 1.0]],
        ] {
            let rows: [&[f32]; 2] = [rows[0], rows[1]];
            assert!(reading(&rows).max_abs().is_nan());
            assert_eq!(reading(&rows).non_finite(), 1);
        }
        let both: [&[f32]; 2] = [&[f32::INFINITY], &[f32::NAN]];
        assert!(reading(&both).max_abs().is_nan());
        let infinite: [&[f32]; 2] = [&[f32::INFINITY], &[f32::NEG_INFINITY]];
        assert_eq!(reading(&infinite).max_abs(), f64::INFINITY);
    }

    #[test]
    fn scaling_is_foretold_and_other_decisions_are_not() {
        let before = reading(&[&[3.0, 4.0], &[2.0]]);
        assert_eq!(before.after(&Decision::Keep).as_ref(), Some(&before));
        let half = before
            .after(&Decision::ScaleGlobal { coefficient: 0.5 })
            .unwrap();
        assert_eq!(half, reading(&[&[1.5, 2.0], &[1.0]]));
        let coefficients = vec![0.5, 1.0];
        let one = before
            .after(&Decision::ScalePerTensor { coefficients })
            .unwrap();
        assert_eq!(one, reading(&[&[1.5, 2.0], &[2.0]]));
        for decision in [
            Decision::Clamp { max_abs: 1.0 },
            Decision::ScalePerUnit {
                coefficients: vec![],
            },
            Decision::ClampToSecondMoment { ratio: 1.0 },
        ] {
            assert_eq!(before.after(&decision), None);
        }
    }
}
