use serde::{Deserialize, Serialize};
use steadygrad::setting::{self, SettingError};

use super::checks::check_steps;
use super::injection::{Injection, Window};
use super::weights::WeightChange;

/// All weights grow by a factor before each step until the run fails: a weight decay with the
/// wrong sign. Activations and gradients grow with a power of the factor and drive the weights
/// further.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightGrowth {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Factor of each attempt.
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
    /// 60 steps with a factor of 1.05.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for WeightGrowth {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("weight_growth.steps", self.steps)?;
        setting::above("weight_growth.factor", self.factor, 1.0)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn builds_up(&self) -> bool {
        true
    }

    fn weights(&self, _pick: u64) -> Option<WeightChange> {
        Some(WeightChange::Scale(self.factor))
    }
}
