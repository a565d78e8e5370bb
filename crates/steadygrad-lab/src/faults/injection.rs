use steadygrad::setting::SettingError;

use super::Distortion;
use super::weights::WeightChange;

/// The attempts in which a fault acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) at_step: u64,
    /// `None`: to the end of the run.
    pub(super) steps: Option<u64>,
}

impl Window {
    /// `steps` attempts, the first of which is `at_step`.
    pub(super) fn new(at_step: u64, steps: u64) -> Self {
        Self {
            at_step,
            steps: Some(steps),
        }
    }

    /// How many attempts lie between the first one and this one; `None` outside of the window.
    pub(super) fn since(&self, attempt: u64) -> Option<u64> {
        let since = attempt.checked_sub(self.at_step)?;
        self.steps
            .is_none_or(|steps| since < steps)
            .then_some(since)
    }
}

/// The hooks of a fault in a training loop. The defaults change nothing.
///
/// They are called within the fault's window only. `since` counts attempts from the first one in
/// the window, and `pick` is a random number of this fault and attempt.
pub(super) trait Injection {
    /// Checks the settings.
    fn check(&self) -> Result<(), SettingError>;

    fn window(&self) -> Window;

    /// Whether the fault grows from harmless to fatal over its window.
    fn builds_up(&self) -> bool {
        false
    }

    /// The parameter that the fault names.
    fn parameter(&self) -> Option<&str> {
        None
    }

    /// Adds the fault to the batch's distortion.
    fn batch(&self, _since: u64, _pick: u64, _distortion: &mut Distortion) {}

    fn learning_rate(&self, _since: u64, learning_rate: f64) -> f64 {
        learning_rate
    }

    fn weights(&self, _pick: u64) -> Option<WeightChange> {
        None
    }

    /// The loss scale with which the gradients pass through f16.
    fn f16_loss_scale(&self) -> Option<f64> {
        None
    }
}
