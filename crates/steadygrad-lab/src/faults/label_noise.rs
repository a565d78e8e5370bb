use serde::{Deserialize, Serialize};
use steadygrad::setting::SettingError;

use super::Distortion;
use super::checks::check_steps;
use super::injection::{Injection, Window};

/// A growing share of the labels is random: `n / steps` in the `n`-th attempt, counted from 1. In
/// the last one the labels carry no information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelNoise {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
}

fn steps() -> u64 {
    60
}

impl LabelNoise {
    /// Builds up over 60 batches.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
        }
    }
}

impl Injection for LabelNoise {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("label_noise.steps", self.steps)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn builds_up(&self) -> bool {
        true
    }

    fn batch(&self, since: u64, pick: u64, distortion: &mut Distortion) {
        distortion.relabel((since as f64 + 1.0) / self.steps as f64, pick);
    }
}
