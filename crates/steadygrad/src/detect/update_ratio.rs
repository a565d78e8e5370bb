use serde::{Deserialize, Serialize};

use super::{Detection, Detector};
use crate::{Place, StepReading};

/// The plain gradient step is too large for the weights:
/// `learning_rate * global_norm / weight_norm > max_ratio`, both norms over all parameters.
///
/// Default 0.1: the upper end of the healthy range 1e-4..1e-1 of TheDeepChecker (Ben Braiek and
/// Khomh, 2022). It fires *before* the update is applied. The place is the weight with the
/// largest ratio of its own. Exact for SGD; for adaptive optimizers it judges the raw gradient.
/// Silent while either norm is not finite or the weights are all zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpdateRatio {
    /// Largest healthy ratio.
    pub max_ratio: f64,
}

impl Default for UpdateRatio {
    fn default() -> Self {
        Self { max_ratio: 0.1 }
    }
}

impl UpdateRatio {
    /// Looks at one reading. Keeps no state.
    pub fn check(&self, reading: &StepReading) -> Option<Detection> {
        let weight_norm = reading
            .weight_norms
            .iter()
            .map(|norm| norm * norm)
            .sum::<f64>()
            .sqrt();
        let ratio = reading.learning_rate * reading.gradients.global_norm() / weight_norm;
        if !ratio.is_finite() || ratio <= self.max_ratio {
            return None;
        }
        let (worst, worst_ratio) = reading
            .gradients
            .tensors
            .iter()
            .zip(&reading.weight_norms)
            // A weight far below the others (a bias that starts at zero) says nothing.
            .filter(|(_, norm)| **norm > 1e-3 * weight_norm)
            .map(|(tensor, norm)| {
                (
                    &tensor.name,
                    reading.learning_rate * tensor.stats.tensor_norm / norm,
                )
            })
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Detection {
            detector: Detector::UpdateRatio,
            step: reading.step,
            place: Place::Parameter(worst.clone()),
            value: ratio,
            threshold: self.max_ratio,
            message: format!(
                "one update is {ratio:.3e} of all weights (healthy: below {}); `{worst}` would \
                 move by {worst_ratio:.3e} of itself",
                self.max_ratio
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;

    #[test]
    fn fires_above_the_ratio_only() {
        // learning rate 0.01, weight norm 1: the ratio is 0.01 * |g|.
        let rule = UpdateRatio::default();
        assert_eq!(rule.check(&reading(0, 1.0, 9.0)), None);
        let seen = rule.check(&reading(0, 1.0, 20.0)).unwrap();
        assert_eq!(seen.place, at_w());
        assert!((seen.value - 0.2).abs() < 1e-12);
    }

    #[test]
    fn odd_rows_are_silent() {
        let rule = UpdateRatio::default();
        for gradient in [0.0, f32::NAN, f32::INFINITY] {
            assert_eq!(rule.check(&reading(0, 1.0, gradient)), None);
        }
        let mut gap = reading(0, 1.0, 1e6);
        gap.weight_norms.clear();
        assert_eq!(rule.check(&gap), None);
        gap.weight_norms = vec![0.0];
        assert_eq!(rule.check(&gap), None);
    }
}
