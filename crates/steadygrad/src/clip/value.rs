use serde::{Deserialize, Serialize};

use super::error::positive;
use super::{ClipConfigError, ClipPolicy, ClipReading};
use crate::Decision;

/// Clip each value: `g <- clamp(g, -max_abs, max_abs)`.
///
/// Changes the direction of the update; cheap and blunt. No default bound: it depends on the scale
/// of the gradients.
///
/// Infinite values become `+-max_abs`, NaN stays NaN, zero and empty are kept: as
/// `torch.nn.utils.clip_grad_value_` does. Source: T. Mikolov, "Statistical language models based
/// on neural networks", 2012, section 3.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValueClip {
    /// The largest absolute value that passes unchanged. Positive and finite.
    pub max_abs: f64,
}

impl ClipPolicy for ValueClip {
    type State = ();

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("value.max_abs", self.max_abs)
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
    fn only_what_is_beyond_the_bound_is_a_decision() {
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
