use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::stats::{TensorStats, global_norm};

/// The measurements that a policy needs of each tensor, beside its statistics.
///
/// The list is closed, because an adapter measures every kind: a new one must not pass it unseen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Needs {
    /// The statistics alone.
    Stats,
    /// The norm of each output unit, of the gradient and of the weights: [`TensorReading::units`].
    UnitNorms,
    /// The number of values beyond `sqrt(ratio v)`: [`TensorReading::beyond_second_moment`].
    SecondMoment {
        /// The multiple of the second moment that a squared gradient may reach.
        ratio: f64,
    },
    /// `sqrt(mean(g^2 / max(v, eps^2)))`: [`TensorReading::update_rms`].
    UpdateRms {
        /// The floor of `sqrt(v)`.
        eps: f64,
    },
    /// `min_i (relative |w_i| + accumulator / sqrt(v_i) + absolute) / |update_i|`:
    /// [`TensorReading::headroom`].
    Headroom {
        /// The share of the weight's size.
        relative: f64,
        /// The multiple of `1 / sqrt(v)`.
        accumulator: f64,
        /// The change that a weight of zero is allowed.
        absolute: f64,
    },
}

impl Needs {
    /// Whether the measurement looks at the weights.
    pub fn include_weights(self) -> bool {
        match self {
            Self::UnitNorms | Self::Headroom { .. } => true,
            Self::Stats | Self::SecondMoment { .. } | Self::UpdateRms { .. } => false,
        }
    }

    /// Whether the measurement looks at the optimizer's second moments.
    pub fn include_moments(self) -> bool {
        match self {
            Self::SecondMoment { .. } | Self::UpdateRms { .. } => true,
            Self::Headroom { accumulator, .. } => accumulator != 0.0,
            Self::Stats | Self::UnitNorms => false,
        }
    }
}

/// The norms of one output unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnitNorms {
    /// The L2 norm of the unit's gradient.
    pub gradient: f64,
    /// The L2 norm of the unit's weights.
    pub weight: f64,
}

/// One tensor, as a policy sees it. A field that was not measured is `None` or empty, and a policy
/// that needs it keeps the tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorReading {
    /// The statistics of the gradient.
    pub stats: TensorStats,
    /// One entry per output unit.
    pub units: Vec<UnitNorms>,
    /// The number of values with `g^2 > ratio v`.
    pub beyond_second_moment: Option<u64>,
    /// The root mean square of the gradient over its second moment.
    pub update_rms: Option<f64>,
    /// The factor by which the update could grow within its bounds.
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

/// All tensors of one step. Their order is the adapter's, and the same at every step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClipReading {
    /// One entry per tensor.
    pub tensors: Vec<TensorReading>,
}

impl ClipReading {
    /// Makes a reading of statistics alone.
    pub fn from_stats(stats: impl IntoIterator<Item = TensorStats>) -> Self {
        Self {
            tensors: stats.into_iter().map(TensorReading::from).collect(),
        }
    }

    /// The L2 norm over all tensors. NaN or infinite when any value is.
    pub fn global_norm(&self) -> f64 {
        global_norm(self.tensors.iter().map(|tensor| tensor.stats.tensor_norm))
    }

    /// The largest absolute value over all tensors. NaN or infinite when any value is.
    pub fn max_abs(&self) -> f64 {
        self.tensors.iter().fold(0.0, |max, tensor| {
            if tensor.stats.non_finite == 0 && !f64::is_nan(max) {
                tensor.stats.max_abs.max(max)
            } else {
                // The norm is NaN or infinite, as the values are.
                tensor.stats.tensor_norm + max
            }
        })
    }

    /// The number of values that are NaN or infinite.
    pub fn non_finite(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.stats.non_finite)
            .sum()
    }

    /// The reading after a decision, where it follows from this one: for scaling by the tensor.
    /// `None` where the tensors must be read again.
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

/// The gradients of one step, wherever they lie. An adapter measures them and acts on decisions.
pub trait Gradients {
    /// The error of measuring or acting.
    type Error;

    /// Measures the gradients in one pass, with everything that the policy needs.
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
    fn a_broken_value_breaks_the_largest_value() {
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
    fn the_reading_after_scaling_is_known_and_after_others_is_not() {
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
