use serde::{Deserialize, Serialize};

use super::error::positive;
use super::{ClipConfigError, ClipPolicy, ClipReading};
use crate::Decision;

/// Clip each tensor by its own norm: `g <- g min(1, max_norm / tensor_norm)`.
///
/// Keeps each tensor's direction, not that of the whole gradient. What Burn's
/// `GradientClippingConfig::Norm` does. No default bound.
///
/// A tensor with a NaN or infinite value is left as it is, the others are clipped; zero and empty
/// tensors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TensorNormClip {
    /// The largest tensor norm that passes unchanged. Positive and finite.
    pub max_norm: f64,
}

impl ClipPolicy for TensorNormClip {
    type State = ();

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("tensor_norm.max_norm", self.max_norm)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let norms = reading
            .tensors
            .iter()
            .map(|tensor| tensor.stats.tensor_norm);
        (
            (),
            Decision::per_tensor(norms.map(|norm| coefficient(norm, self.max_norm)).collect()),
        )
    }
}

/// The factor that brings a norm down to its bound; 1 when it is within, or not finite.
pub(super) fn coefficient(norm: f64, max_norm: f64) -> f64 {
    if norm.is_finite() && norm > max_norm {
        max_norm / norm
    } else {
        1.0
    }
}
