use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::scaling::scale_to;
use crate::clip::{ClipPolicy, ClipReading};
use crate::setting::{SettingError, above};

/// A norm over all values of all tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalNorm {
    /// The L2 norm `sqrt(sum g^2)`.
    #[default]
    L2,
    /// The largest absolute value `max |g|`.
    LInf,
}

/// Bounds the norm over all parameters at once, so that the update keeps its direction.
///
/// `g <- g min(1, max_norm / global_norm)`.
///
/// It is the first choice for recurrent networks and transformers. There is no default bound; 1.0
/// is the field's usual one. A NaN or infinite norm keeps everything. Zero and empty gradients are
/// kept.
///
/// Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
/// 2013. `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm. This does not, so a gradient at or
/// below the bound is kept to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GlobalNormClip {
    /// The largest global norm that passes unchanged. Positive and finite.
    pub max_norm: f64,
    /// The norm that is bounded.
    #[serde(default)]
    pub norm: GlobalNorm,
}

impl GlobalNormClip {
    /// Bounds the L2 norm.
    pub fn new(max_norm: f64) -> Self {
        Self {
            max_norm,
            norm: GlobalNorm::L2,
        }
    }

    /// Bounds this norm.
    pub fn with_norm(self, norm: GlobalNorm) -> Self {
        Self { norm, ..self }
    }
}

impl ClipPolicy for GlobalNormClip {
    type State = ();

    fn examples(bound: f64) -> Vec<Self> {
        let l2 = Self::new(bound);
        vec![l2, l2.with_norm(GlobalNorm::LInf)]
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("max_norm", self.max_norm, 0.0)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let norm = match self.norm {
            GlobalNorm::L2 => reading.global_norm(),
            GlobalNorm::LInf => reading.max_abs(),
        };
        ((), scale_to(norm, self.max_norm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    #[test]
    fn a_norm_beyond_its_bound_comes_down_to_it() {
        let reading = ClipReading::from_stats([TensorStats::of(&[3.0f32, -4.0])]);
        let decide = |clip: GlobalNormClip| clip.step((), &reading).1;
        let half = Decision::ScaleGlobal { coefficient: 0.5 };
        assert_eq!(decide(GlobalNormClip::new(5.0)), Decision::Keep);
        assert_eq!(decide(GlobalNormClip::new(2.5)), half);
        let largest = |bound| GlobalNormClip::new(bound).with_norm(GlobalNorm::LInf);
        assert_eq!(decide(largest(4.0)), Decision::Keep);
        assert_eq!(decide(largest(2.0)), half);
    }

    #[test]
    fn a_broken_or_empty_gradient_is_kept() {
        for values in [&[f32::NAN, 9.0][..], &[f32::INFINITY], &[]] {
            let reading = ClipReading::from_stats([TensorStats::of(values)]);
            for norm in [GlobalNorm::L2, GlobalNorm::LInf] {
                let clip = GlobalNormClip::new(1.0).with_norm(norm);
                assert_eq!(clip.step((), &reading).1, Decision::Keep, "{values:?}");
            }
        }
    }
}
