use serde::{Deserialize, Serialize};
use steadygrad::setting::SettingError;

use super::Distortion;
use super::checks::{check_finite, check_steps};
use super::injection::{Injection, Window};

/// The data change from one step to the next: each input `x` becomes `scale * x + shift`. The cause
/// is a new shard with another preprocessing, or a new sensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftedData {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in; `None` acts to the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Factor of the inputs.
    #[serde(default = "scale")]
    pub scale: f32,
    /// Added to the scaled inputs, in their unit.
    #[serde(default = "shift")]
    pub shift: f32,
}

fn scale() -> f32 {
    -3.0
}

fn shift() -> f32 {
    3.0
}

impl ShiftedData {
    /// `3 - 3 x` to the end of the run: an inverted image with three times the contrast.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: None,
            scale: scale(),
            shift: shift(),
        }
    }
}

impl Injection for ShiftedData {
    fn check(&self) -> Result<(), SettingError> {
        if let Some(steps) = self.steps {
            check_steps("shifted_data.steps", steps)?;
        }
        check_finite("shifted_data.scale", self.scale)?;
        check_finite("shifted_data.shift", self.shift)
    }

    fn window(&self) -> Window {
        Window {
            at_step: self.at_step,
            steps: self.steps,
        }
    }

    fn batch(&self, _since: u64, _pick: u64, distortion: &mut Distortion) {
        distortion.scale_and_shift(self.scale, self.shift);
    }
}
