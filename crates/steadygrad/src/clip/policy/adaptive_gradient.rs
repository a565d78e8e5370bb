use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::{ClipPolicy, ClipReading, Needs, TensorReading, UnitNorms};
use crate::setting::{SettingError, above};

/// Adaptive gradient clipping (AGC) bounds each output unit by its weights.
///
/// Where unit i has `|g_i| > clipping max(|w_i|, eps)`, with L2 norms of its gradient and its
/// weights: `g_i <- g_i clipping max(|w_i|, eps) / max(|g_i|, 1e-6)`. A unit is a row of a matrix
/// `[out, in]`, a filter of a convolution, or a whole vector of biases or gains.
///
/// Defaults: clipping 0.01, eps 1e-3. It suits networks without normalisation at large batch sizes.
/// The paper leaves the final layer out: give the adapter only the parameters to clip.
///
/// A unit with a NaN or infinite value is kept, and the others are clipped. Zero and empty units
/// are kept.
///
/// Source: Brock, De, Smith and Simonyan, "High-performance large-scale image recognition without
/// normalization" (NFNets), 2021, equation 3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaptiveGradientClip {
    /// The largest ratio of gradient to weight norm that passes unchanged. Positive and finite.
    pub clipping: f64,
    /// The smallest weight norm that counts, so that weights at zero can still learn. Positive and
    /// finite.
    pub eps: f64,
}

impl Default for AdaptiveGradientClip {
    fn default() -> Self {
        Self {
            clipping: 0.01,
            eps: 1e-3,
        }
    }
}

/// The smallest gradient norm in a denominator.
const LEAST_GRADIENT_NORM: f64 = 1e-6;

impl AdaptiveGradientClip {
    /// Sets the largest ratio of gradient to weight norm that passes unchanged.
    pub fn with_clipping(self, clipping: f64) -> Self {
        Self { clipping, ..self }
    }

    /// Sets the smallest weight norm that counts.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    fn coefficient(&self, unit: &UnitNorms) -> f64 {
        let max_norm = self.clipping * unit.weight.max(self.eps);
        // False for NaN as well.
        if unit.gradient.is_finite() && unit.gradient > max_norm {
            max_norm / unit.gradient.max(LEAST_GRADIENT_NORM)
        } else {
            1.0
        }
    }

    fn coefficients(&self, tensor: &TensorReading) -> Vec<f64> {
        let coefficients: Vec<f64> = tensor
            .units
            .iter()
            .map(|unit| self.coefficient(unit))
            .collect();
        if coefficients.iter().all(|&coefficient| coefficient == 1.0) {
            Vec::new()
        } else {
            coefficients
        }
    }
}

impl ClipPolicy for AdaptiveGradientClip {
    type State = ();

    fn examples(_bound: f64) -> Vec<Self> {
        vec![Self::default()]
    }

    fn needs(&self) -> Needs {
        Needs::UnitNorms
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("clipping", self.clipping, 0.0)?;
        above("eps", self.eps, 0.0)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let coefficients: Vec<_> = reading
            .tensors
            .iter()
            .map(|tensor| self.coefficients(tensor))
            .collect();
        let keep = coefficients.iter().all(Vec::is_empty);
        (
            (),
            if keep {
                Decision::Keep
            } else {
                Decision::ScalePerUnit { coefficients }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gradient at its bound passes, even where it is below the smallest denominator.
    #[test]
    fn a_unit_at_its_bound_is_kept() {
        let clip = AdaptiveGradientClip {
            clipping: 0.5,
            eps: 1e-8,
        };
        let decide = |gradient: f64| {
            let reading = ClipReading {
                tensors: vec![TensorReading {
                    units: vec![UnitNorms {
                        gradient,
                        weight: 0.0,
                    }],
                    ..TensorReading::default()
                }],
            };
            clip.step((), &reading).1
        };
        let bound = 0.5 * 1e-8;
        assert_eq!(decide(bound), Decision::Keep);
        assert_eq!(
            decide(2.0 * bound),
            Decision::ScalePerUnit {
                coefficients: vec![vec![bound / LEAST_GRADIENT_NORM]]
            }
        );
    }
}
