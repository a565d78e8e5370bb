use super::weights::WeightChange;
use super::{Distortion, FaultError};

/// The attempts in which a fault is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) at_step: u64,
    /// `None`: to the end of the run.
    pub(super) steps: Option<u64>,
}

impl Window {
    /// How many attempts after its first this one is, if the fault is at work in it.
    pub(super) fn since(&self, attempt: u64) -> Option<u64> {
        let since = attempt.checked_sub(self.at_step)?;
        self.steps
            .is_none_or(|steps| since < steps)
            .then_some(since)
    }
}

/// What a fault does at each place of a training loop; nothing, by default. It is asked only
/// within its window. `since` counts attempts from the first of them, and `pick` is a random
/// number of this fault and attempt.
pub(super) trait Injection {
    /// That its settings can be used.
    fn check(&self) -> Result<(), FaultError>;

    fn window(&self) -> Window;

    /// Adds to what is wrong with the batch.
    fn batch(&self, _since: u64, _pick: u64, _distortion: &mut Distortion) {}

    fn learning_rate(&self, _since: u64, learning_rate: f64) -> f64 {
        learning_rate
    }

    fn weights(&self, _pick: u64) -> Option<WeightChange> {
        None
    }

    /// The loss scale with which gradients pass through f16.
    fn f16_loss_scale(&self) -> Option<f64> {
        None
    }
}
