use serde::{Deserialize, Serialize};

use super::error::check_steps;
use super::injection::{Injection, Window};
use super::{Distortion, FaultError};

/// More and more labels are drawn by chance: at the `n`-th of `steps` attempts, from 1, a share of
/// `n / steps`, so that in the end none says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelNoise {
    /// The first attempt.
    pub at_step: u64,
    /// For so many attempts.
    #[serde(default = "steps")]
    pub steps: u64,
}

fn steps() -> u64 {
    60
}

impl LabelNoise {
    /// Over 60 batches.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
        }
    }
}

impl Injection for LabelNoise {
    fn check(&self) -> Result<(), FaultError> {
        check_steps("label_noise.steps", self.steps)
    }

    fn window(&self) -> Window {
        Window {
            at_step: self.at_step,
            steps: Some(self.steps),
        }
    }

    fn batch(&self, since: u64, pick: u64, distortion: &mut Distortion) {
        distortion.relabel((since as f64 + 1.0) / self.steps as f64, pick);
    }
}
