use serde::{Deserialize, Serialize};

use super::error::positive;
use super::{ClipConfigError, ClipPolicy, ClipReading, Needs, TensorReading, UnitNorms};
use crate::Decision;

/// Adaptive gradient clipping (AGC): clip each output unit by its weights.
///
/// For unit i with gradient g_i and weights w_i, where
/// `|g_i| > clipping max(|w_i|, eps)`:
/// `g_i <- g_i clipping max(|w_i|, eps) / max(|g_i|, 1e-6)`, with L2 norms. A unit is a row of a
/// matrix `[out, in]`, a filter of a convolution, and a whole vector for biases and gains.
///
/// Defaults: clipping 0.01, eps 1e-3. For networks without normalisation at large batch sizes. The
/// paper leaves the final layer out: give the adapter only the parameters to clip.
///
/// A unit with a NaN or infinite value is left as it is, the others are clipped; zero and empty
/// units are kept. Source: Brock, De, Smith and Simonyan, "High-performance large-scale image
/// recognition without normalization" (NFNets), 2021, equation 3.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaptiveGradientClip {
    /// The largest ratio of gradient to weight norm that passes unchanged.
    pub clipping: f64,
    /// The least weight norm that counts, so that weights at zero can still learn.
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

/// The least gradient norm that is divided by.
const LEAST_GRADIENT_NORM: f64 = 1e-6;

impl AdaptiveGradientClip {
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

    fn needs(&self) -> Needs {
        Needs::UnitNorms
    }

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("adaptive_gradient.clipping", self.clipping)?;
        positive("adaptive_gradient.eps", self.eps)
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

    /// A gradient at its bound passes, even where it is smaller than the least that is divided by.
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
