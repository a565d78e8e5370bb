use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::{ClipPolicy, ClipReading, Needs};
use crate::setting::{SettingError, above};

/// SPAM's spike-aware clip bounds single values by their second moment.
///
/// Where `g^2 > ratio v`, with v the optimizer's running mean of g^2 before this step:
/// `g <- sign(g) sqrt(ratio v)`. A value whose v is zero has no history and is kept.
///
/// Defaults: ratio 5000, and 20 steps of grace while v fills. It suits Adam-like optimizers. SPAM
/// also resets the moments every 500 steps. That is the optimizer's part; start a new
/// [`Clipper`](crate::clip::Clipper) afterwards.
///
/// A NaN is kept. An infinite value becomes `+-sqrt(ratio v)`. Zero and empty gradients are kept.
///
/// Source: Huang et al., "SPAM: spike-aware Adam with momentum reset for stable LLM training",
/// 2025.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpikeAwareClip {
    /// The multiple of its second moment that a squared gradient may reach. Positive and finite.
    pub ratio: f64,
    /// The number of steps at the start that are not clipped.
    pub grace_steps: u64,
}

impl SpikeAwareClip {
    /// Sets the multiple of its second moment that a squared gradient may reach.
    pub fn with_ratio(self, ratio: f64) -> Self {
        Self { ratio, ..self }
    }

    /// Sets the number of steps at the start that are not clipped.
    pub fn with_grace_steps(self, grace_steps: u64) -> Self {
        Self {
            grace_steps,
            ..self
        }
    }
}

impl Default for SpikeAwareClip {
    fn default() -> Self {
        Self {
            ratio: 5000.0,
            grace_steps: 20,
        }
    }
}

/// The memory of [`SpikeAwareClip`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpikeAwareState {
    /// The number of steps so far.
    step: u64,
}

impl ClipPolicy for SpikeAwareClip {
    type State = SpikeAwareState;

    fn examples(_bound: f64) -> Vec<Self> {
        vec![Self::default().with_grace_steps(2)]
    }

    fn needs(&self) -> Needs {
        Needs::SecondMoment { ratio: self.ratio }
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("ratio", self.ratio, 0.0)
    }

    fn step(&self, state: SpikeAwareState, reading: &ClipReading) -> (SpikeAwareState, Decision) {
        let beyond = reading
            .tensors
            .iter()
            .any(|tensor| tensor.beyond_second_moment.is_some_and(|count| count > 0));
        let decision = if state.step >= self.grace_steps && beyond {
            Decision::ClampToSecondMoment { ratio: self.ratio }
        } else {
            Decision::Keep
        };
        (
            SpikeAwareState {
                step: state.step + 1,
            },
            decision,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::TensorReading;

    #[test]
    fn spikes_count_after_the_grace() {
        let reading = |beyond| ClipReading {
            tensors: vec![TensorReading {
                beyond_second_moment: beyond,
                ..TensorReading::default()
            }],
        };
        let clip = SpikeAwareClip {
            ratio: 9.0,
            grace_steps: 1,
        };
        let (state, decision) = clip.step(SpikeAwareState::default(), &reading(Some(3)));
        assert_eq!(decision, Decision::Keep);
        let (_, decision) = clip.step(state, &reading(Some(1)));
        assert_eq!(decision, Decision::ClampToSecondMoment { ratio: 9.0 });
        for nothing in [Some(0), None] {
            assert_eq!(clip.step(state, &reading(nothing)).1, Decision::Keep);
        }
    }
}
