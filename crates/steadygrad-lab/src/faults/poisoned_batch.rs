use serde::{Deserialize, Serialize};
use steadygrad::setting::SettingError;

use super::Distortion;
use super::checks::check_steps;
use super::injection::{Injection, Window};

/// One value of one sample is NaN or infinite: a corrupt file, or a division by zero in
/// preprocessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoisonedBatch {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
    /// The value after the fault.
    pub value: Poison,
}

/// A non-finite value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Poison {
    /// Not a number.
    Nan,
    /// Positive infinity.
    Inf,
}

fn steps() -> u64 {
    1
}

impl PoisonedBatch {
    /// Poisons one batch.
    pub fn at(at_step: u64, value: Poison) -> Self {
        Self {
            at_step,
            steps: steps(),
            value,
        }
    }
}

impl Injection for PoisonedBatch {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("poisoned_batch.steps", self.steps)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn batch(&self, _since: u64, pick: u64, distortion: &mut Distortion) {
        let value = match self.value {
            Poison::Nan => f32::NAN,
            Poison::Inf => f32::INFINITY,
        };
        distortion.replace_one(value, pick);
    }
}
