use serde::{Deserialize, Serialize};

use super::error::{check, check_steps};
use super::injection::{Injection, Window};
use super::{Distortion, FaultError};

/// The data change from one step to the next: each input `x` becomes `scale * x + shift`. A new
/// shard with another preprocessing, a sensor that was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftedData {
    /// The first attempt.
    pub at_step: u64,
    /// For so many attempts; left out, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The factor.
    #[serde(default = "scale")]
    pub scale: f32,
    /// What is added after that, in the input's unit.
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
    /// `3 - 3 x` from here on: an inverted image with three times the contrast.
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
    fn check(&self) -> Result<(), FaultError> {
        if let Some(steps) = self.steps {
            check_steps("shifted_data.steps", steps)?;
        }
        let finite = "give a finite number; for NaN and infinity there is poisoned_batch";
        check(
            "shifted_data.scale",
            self.scale,
            self.scale.is_finite(),
            finite,
        )?;
        check(
            "shifted_data.shift",
            self.shift,
            self.shift.is_finite(),
            finite,
        )
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
