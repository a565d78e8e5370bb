use serde::{Deserialize, Serialize};

use super::FaultError;
use super::error::{check, check_steps};
use super::injection::{Injection, Window};
use super::weights::WeightChange;

/// All weights grow by a factor before each step and build up to a failure: a weight decay with
/// the wrong sign. Activations and gradients grow with a power of it, and drive the weights
/// further.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightGrowth {
    /// The first attempt.
    pub at_step: u64,
    /// For so many attempts.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Growth an attempt.
    #[serde(default = "factor")]
    pub factor: f64,
}

fn steps() -> u64 {
    60
}

fn factor() -> f64 {
    1.05
}

impl WeightGrowth {
    /// 60 steps, times 1.05 at each.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for WeightGrowth {
    fn check(&self) -> Result<(), FaultError> {
        check_steps("weight_growth.steps", self.steps)?;
        check(
            "weight_growth.factor",
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

    fn weights(&self, _pick: u64) -> Option<WeightChange> {
        Some(WeightChange::Scale(self.factor))
    }
}
