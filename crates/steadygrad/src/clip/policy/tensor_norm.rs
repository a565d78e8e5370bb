use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::scaling::coefficient;
use crate::clip::{ClipPolicy, ClipReading};
use crate::setting::{SettingError, above};

/// Bounds each tensor by its own norm: `g <- g min(1, max_norm / tensor_norm)`.
///
/// It keeps the direction of each tensor, not that of the whole gradient. Burn's
/// `GradientClippingConfig::Norm` does the same. There is no default bound.
///
/// A tensor with a NaN or infinite value is kept, and the others are clipped. Zero and empty
/// tensors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TensorNormClip {
    /// The largest tensor norm that passes unchanged. Positive and finite.
    pub max_norm: f64,
}

impl ClipPolicy for TensorNormClip {
    type State = ();

    fn examples(bound: f64) -> Vec<Self> {
        vec![Self { max_norm: bound }]
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("max_norm", self.max_norm, 0.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    #[test]
    fn each_tensor_has_its_own_coefficient() {
        let tensors: [&[f32]; 5] = [&[3.0, 4.0], &[1.0], &[f32::NAN], &[0.0], &[]];
        let reading = ClipReading::from_stats(tensors.map(TensorStats::of));
        let decide = |max_norm| TensorNormClip { max_norm }.step((), &reading).1;
        let coefficients = vec![0.5, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(decide(2.5), Decision::ScalePerTensor { coefficients });
        assert_eq!(decide(5.0), Decision::Keep);
    }
}
