use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ClipReading, Needs};
use crate::Decision;
use crate::setting::SettingError;

/// What a policy changes.
///
/// The list is closed: a step has gradients and an update, and nothing else to clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The gradients, before the optimizer.
    Gradient,
    /// The change that the optimizer makes to the weights.
    Update,
}

/// One clipping rule: a pure function of its settings, its state and a reading.
pub trait ClipPolicy: Sized {
    /// The memory that a policy keeps from step to step.
    type State: Clone + Default + PartialEq + Serialize + DeserializeOwned;

    /// The policy as the conformance tests run it: with bounds near `bound` where it has any, and
    /// warm-ups of a few steps. Several examples where one setting switches between two rules.
    #[doc(hidden)]
    fn examples(bound: f64) -> Vec<Self>;

    /// The measurements that the policy needs beside the statistics.
    fn needs(&self) -> Needs {
        Needs::Stats
    }

    /// What the policy changes.
    fn target(&self) -> Target {
        Target::Gradient
    }

    /// Checks every setting. A field's name stands alone, without the policy's.
    ///
    /// # Errors
    /// Names the first field that cannot be used.
    fn validate(&self) -> Result<(), SettingError>;

    /// Judges one step.
    fn step(&self, state: Self::State, reading: &ClipReading) -> (Self::State, Decision);
}
