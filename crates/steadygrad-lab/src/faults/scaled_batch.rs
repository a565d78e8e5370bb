use serde::{Deserialize, Serialize};
use steadygrad::setting::SettingError;

use super::Distortion;
use super::checks::{check_finite, check_steps};
use super::injection::{Injection, Window};

/// All inputs of a batch are multiplied by a factor: a forgotten normalisation, or a wrong unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaledBatch {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Factor of the inputs.
    #[serde(default = "factor")]
    pub factor: f32,
}

fn steps() -> u64 {
    1
}

fn factor() -> f32 {
    1e6
}

impl ScaledBatch {
    /// One batch with a factor of 1e6.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            factor: factor(),
        }
    }
}

impl Injection for ScaledBatch {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("scaled_batch.steps", self.steps)?;
        check_finite("scaled_batch.factor", self.factor)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn batch(&self, _since: u64, _pick: u64, distortion: &mut Distortion) {
        distortion.scale_and_shift(self.factor, 0.0);
    }
}
