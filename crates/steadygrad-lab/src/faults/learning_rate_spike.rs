use serde::{Deserialize, Serialize};
use steadygrad::setting::{self, SettingError};

use super::checks::check_steps;
use super::injection::{Injection, Window};

/// The learning rate is multiplied by a factor: a schedule in the wrong unit, or a restart without
/// its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateSpike {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Factor of the learning rate.
    #[serde(default = "factor")]
    pub factor: f64,
}

fn steps() -> u64 {
    5
}

fn factor() -> f64 {
    100.0
}

impl LearningRateSpike {
    /// 5 steps with a factor of 100.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for LearningRateSpike {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("learning_rate_spike.steps", self.steps)?;
        setting::above("learning_rate_spike.factor", self.factor, 0.0)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn learning_rate(&self, _since: u64, learning_rate: f64) -> f64 {
        learning_rate * self.factor
    }
}
