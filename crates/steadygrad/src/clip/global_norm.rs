use serde::{Deserialize, Serialize};

use super::error::positive;
use super::tensor_norm::coefficient;
use super::{ClipConfigError, ClipPolicy, ClipReading};
use crate::Decision;

/// Which norm over all values of all tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalNorm {
    /// `sqrt(sum g^2)`.
    #[default]
    L2,
    /// `max |g|`.
    LInf,
}

/// Clip by the global norm: `g <- g min(1, max_norm / global_norm)` over all parameters at once, so
/// that the direction of the update is kept.
///
/// The first choice for recurrent networks and transformers; 1.0 is the field's usual bound. A NaN
/// or infinite norm keeps everything; zero and empty are kept.
///
/// Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
/// networks", 2013. `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm; this does not, so a
/// gradient at or below the threshold is left as it is, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GlobalNormClip {
    /// The largest global norm that passes unchanged. Positive and finite.
    pub max_norm: f64,
    /// Which norm.
    #[serde(default)]
    pub norm: GlobalNorm,
}

impl GlobalNormClip {
    /// By the L2 norm.
    pub fn new(max_norm: f64) -> Self {
        Self {
            max_norm,
            norm: GlobalNorm::L2,
        }
    }
}

impl ClipPolicy for GlobalNormClip {
    type State = ();

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("global_norm.max_norm", self.max_norm)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let norm = match self.norm {
            GlobalNorm::L2 => reading.global_norm(),
            GlobalNorm::LInf => reading.max_abs(),
        };
        ((), scale_to(norm, self.max_norm))
    }
}

/// Scale everything so that the norm comes down to its bound, if it is above it.
pub(super) fn scale_to(norm: f64, max_norm: f64) -> Decision {
    match coefficient(norm, max_norm) {
        1.0 => Decision::Keep,
        coefficient => Decision::ScaleGlobal { coefficient },
    }
}
