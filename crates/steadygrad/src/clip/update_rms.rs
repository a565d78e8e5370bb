use serde::{Deserialize, Serialize};

use super::error::positive;
use super::{ClipConfigError, ClipPolicy, ClipReading, Needs, Target};
use crate::Decision;

/// StableAdamW's update clipping: slow down a tensor whose second moment is out of date.
///
/// `RMS = sqrt(mean(g^2 / max(v, eps^2)))` for each tensor, with v the bias-corrected running mean
/// of g^2, this step included. The tensor's update is multiplied by `1 / max(1, RMS)`, which is the
/// same as dividing its learning rate.
///
/// Default: eps 1e-8. For Adam-like optimizers with a slow beta2; makes warm-up less needed. A RMS
/// that is not finite leaves the tensor's update as it is; zero and empty are kept.
///
/// Source: Wortsman et al., "Stable and low-precision training for large-scale vision-language
/// models", arXiv 2304.13013, 2023, after Shazeer and Stern's Adafactor, 2018.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateRmsClip {
    /// The floor under `sqrt(v)`.
    pub eps: f64,
}

impl Default for UpdateRmsClip {
    fn default() -> Self {
        Self { eps: 1e-8 }
    }
}

impl ClipPolicy for UpdateRmsClip {
    type State = ();

    fn needs(&self) -> Needs {
        Needs::UpdateRms { eps: self.eps }
    }

    fn target(&self) -> Target {
        Target::Update
    }

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("update_rms.eps", self.eps)
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
