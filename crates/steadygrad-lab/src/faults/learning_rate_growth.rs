use serde::{Deserialize, Serialize};
use steadygrad::setting::{self, SettingError};

use super::checks::check_steps;
use super::injection::{Injection, Window};

/// The learning rate grows by a factor in each attempt until the run fails: a schedule with the
/// wrong sign. In the `n`-th attempt, counted from 1, it is `factor^n` times the right one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateGrowth {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in; then the learning rate is right again.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Factor of each attempt.
    #[serde(default = "factor")]
    pub factor: f64,
}

fn steps() -> u64 {
    40
}

fn factor() -> f64 {
    1.3
}

impl LearningRateGrowth {
    /// 40 steps with a factor of 1.3: the last one has 36,000 times the learning rate.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for LearningRateGrowth {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("learning_rate_growth.steps", self.steps)?;
        setting::above("learning_rate_growth.factor", self.factor, 1.0)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn builds_up(&self) -> bool {
        true
    }

    fn learning_rate(&self, since: u64, learning_rate: f64) -> f64 {
        // A long window ends at the largest finite number: no optimizer gets an infinite rate.
        (learning_rate * self.factor.powf(since as f64 + 1.0)).min(f64::MAX)
    }
}
