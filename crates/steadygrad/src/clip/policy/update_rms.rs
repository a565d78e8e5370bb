use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::{ClipPolicy, ClipReading, Needs, Target};
use crate::setting::{SettingError, above};

/// StableAdamW's update clipping slows down a tensor whose second moment is out of date.
///
/// Each tensor has `RMS = sqrt(mean(g^2 / max(v, eps^2)))`, with v the bias-corrected running mean
/// of g^2, this step included. Its update is multiplied by `1 / max(1, RMS)`, which is the same as
/// dividing its learning rate.
///
/// Default: eps 1e-8. It suits Adam-like optimizers with a slow beta2, and makes warm-up less
/// important. A RMS that is not finite keeps the tensor's update. Zero and empty updates are kept.
///
/// Source: Wortsman et al., "Stable and low-precision training for large-scale vision-language
/// models", arXiv 2304.13013, 2023, after Shazeer and Stern's Adafactor, 2018.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateRmsClip {
    /// The floor of `sqrt(v)`. Positive and finite.
    pub eps: f64,
}

impl UpdateRmsClip {
    /// Sets the floor of `sqrt(v)`.
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps }
    }
}

impl Default for UpdateRmsClip {
    fn default() -> Self {
        Self { eps: 1e-8 }
    }
}

impl ClipPolicy for UpdateRmsClip {
    type State = ();

    fn examples(_bound: f64) -> Vec<Self> {
        vec![Self::default()]
    }

    fn needs(&self) -> Needs {
        Needs::UpdateRms { eps: self.eps }
    }

    fn target(&self) -> Target {
        Target::Update
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("eps", self.eps, 0.0)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let coefficients = reading.tensors.iter().map(|tensor| {
            let rms = tensor
                .update_rms
                .filter(|rms| rms.is_finite())
                .unwrap_or(0.0);
            1.0 / rms.max(1.0)
        });
        ((), Decision::per_tensor(coefficients.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::TensorReading;

    #[test]
    fn only_an_rms_above_one_slows_a_tensor_down() {
        let decide = |update_rms| {
            let reading = ClipReading {
                tensors: vec![TensorReading {
                    update_rms,
                    ..TensorReading::default()
                }],
            };
            UpdateRmsClip::default().step((), &reading).1
        };
        for kept in [
            None,
            Some(0.0),
            Some(1.0),
            Some(f64::INFINITY),
            Some(f64::NAN),
        ] {
            assert_eq!(decide(kept), Decision::Keep, "{kept:?}");
        }
        let coefficients = vec![0.25];
        assert_eq!(decide(Some(4.0)), Decision::ScalePerTensor { coefficients });
    }
}
