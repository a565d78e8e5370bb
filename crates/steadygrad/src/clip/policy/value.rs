use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::{ClipPolicy, ClipReading};
use crate::setting::{SettingError, above};

/// Bounds each value: `g <- clamp(g, -max_abs, max_abs)`.
///
/// It is cheap and blunt: it changes the direction of the update. There is no default bound,
/// because it depends on the scale of the gradients.
///
/// Infinite values become `+-max_abs`, NaN stays NaN, and zero and empty gradients are kept, as in
/// `torch.nn.utils.clip_grad_value_`.
///
/// Source: T. Mikolov, "Statistical language models based on neural networks", 2012, section 3.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValueClip {
    /// The largest absolute value that passes unchanged. Positive and finite.
    pub max_abs: f64,
}

impl ClipPolicy for ValueClip {
    type State = ();

    fn examples(bound: f64) -> Vec<Self> {
        vec![Self { max_abs: bound }]
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("max_abs", self.max_abs, 0.0)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let beyond = reading
            .tensors
            .iter()
            .any(|tensor| tensor.stats.max_abs > self.max_abs || tensor.stats.non_finite > 0);
        let max_abs = self.max_abs;
        (
            (),
            if beyond {
                Decision::Clamp { max_abs }
            } else {
                Decision::Keep
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    #[test]
    fn only_values_beyond_the_bound_are_clamped() {
        let decide = |values: &[f32]| {
            let reading = ClipReading::from_stats([TensorStats::of(values)]);
            ValueClip { max_abs: 2.0 }.step((), &reading).1
        };
        for kept in [&[][..], &[0.0], &[2.0, -2.0]] {
            assert_eq!(decide(kept), Decision::Keep, "{kept:?}");
        }
        for clamped in [&[2.0f32.next_up()][..], &[f32::NAN], &[1.0, f32::INFINITY]] {
            assert_eq!(decide(clamped), Decision::Clamp { max_abs: 2.0 });
        }
    }
}
