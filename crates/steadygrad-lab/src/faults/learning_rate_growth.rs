use serde::{Deserialize, Serialize};

use super::FaultError;
use super::error::{check, check_steps};
use super::injection::{Injection, Window};

/// The learning rate grows by a factor at each attempt and builds up to a failure: a schedule with
/// the wrong sign. At the `n`-th attempt, from 1, it is `factor^n` of what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateGrowth {
    /// The first attempt.
    pub at_step: u64,
    /// For so many attempts; then the learning rate is right again.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Growth an attempt.
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
    /// 40 steps, times 1.3 at each: 36,000 times at the end.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for LearningRateGrowth {
    fn check(&self) -> Result<(), FaultError> {
        check_steps("learning_rate_growth.steps", self.steps)?;
        check(
            "learning_rate_growth.factor",
            self.factor,
            self.factor.is_finite() && self.factor > 1.0,
            "give a finite number above 1",
        )
    }

    fn window(&self) -> Window {
        Window {
            at_step: self.at_step,
            steps: Some(self.steps),
        }
    }

    fn learning_rate(&self, since: u64, learning_rate: f64) -> f64 {
        // Long windows end at the largest finite number: a learning rate is never infinite.
        (learning_rate * self.factor.powf(since as f64 + 1.0)).min(f64::MAX)
    }
}
