use serde::{Deserialize, Serialize};

use super::FaultError;
use super::error::{check, check_steps};
use super::injection::{Injection, Window};

/// The learning rate is multiplied by a factor: a schedule that is read in the wrong unit, a
/// restart that forgot its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRateSpike {
    /// The first attempt.
    pub at_step: u64,
    /// For so many attempts.
    #[serde(default = "steps")]
    pub steps: u64,
    /// The factor.
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
    /// 5 steps, times 100.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for LearningRateSpike {
    fn check(&self) -> Result<(), FaultError> {
        check_steps("learning_rate_spike.steps", self.steps)?;
        check(
            "learning_rate_spike.factor",
            self.factor,
            self.factor.is_finite() && self.factor > 0.0,
            "give a positive, finite number",
        )
    }

    fn window(&self) -> Window {
        Window {
            at_step: self.at_step,
            steps: Some(self.steps),
        }
    }

    fn learning_rate(&self, _since: u64, learning_rate: f64) -> f64 {
        learning_rate * self.factor
    }
}
