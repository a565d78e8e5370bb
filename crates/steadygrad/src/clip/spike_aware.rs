use serde::{Deserialize, Serialize};

use super::error::positive;
use super::{ClipConfigError, ClipPolicy, ClipReading, Needs};
use crate::Decision;

/// SPAM's spike-aware clip: bring single values that spike down to what their second moment expects.
///
/// Where `g^2 > ratio v`, with v the optimizer's running mean of g^2 before this step:
/// `g <- sign(g) sqrt(ratio v)`. Values whose v is zero have no history and are left alone.
///
/// Defaults: ratio 5000, and 20 steps' grace while v fills. For Adam-like optimizers. SPAM also
/// resets the moments every 500 steps; that is the optimizer's part, and after doing so the state
/// here starts anew as well ([`Clipper::new`](super::Clipper::new)).
///
/// A NaN is left as it is; an infinite value becomes `+-sqrt(ratio v)`; zero and empty are kept.
/// Source: Huang et al., "SPAM: spike-aware Adam with momentum reset for stable LLM training",
/// 2025.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpikeAwareClip {
    /// The squared gradient's allowed multiple of its second moment.
    pub ratio: f64,
    /// Steps at the start that are only counted.
    pub grace_steps: u64,
}

impl Default for SpikeAwareClip {
    fn default() -> Self {
        Self {
            ratio: 5000.0,
            grace_steps: 20,
        }
    }
}

/// What [`SpikeAwareClip`] remembers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpikeAwareState {
    /// Steps seen.
    step: u64,
}

impl ClipPolicy for SpikeAwareClip {
    type State = SpikeAwareState;

    fn needs(&self) -> Needs {
        Needs::SecondMoment { ratio: self.ratio }
    }

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("spike_aware.ratio", self.ratio)
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
