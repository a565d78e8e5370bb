use serde::{Deserialize, Serialize};
use steadygrad::setting::{self, SettingError};

use super::checks::check_steps;
use super::injection::{Injection, Window};

/// Gradients pass through f16 with a loss scale that is too large: values above
/// 65504 / `loss_scale` become infinite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct F16Overflow {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Factor of the loss before the backward pass.
    #[serde(default = "loss_scale")]
    pub loss_scale: f64,
}

fn steps() -> u64 {
    1
}

/// PyTorch's scaler starts at 2^16 and doubles every 2,000 steps without an overflow. It reaches
/// 2^24 after 16,000 of them.
fn loss_scale() -> f64 {
    f64::from(1 << 24)
}

impl F16Overflow {
    /// One step with a loss scale of 2^24: gradients above 0.0039 overflow.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            loss_scale: loss_scale(),
        }
    }
}

impl Injection for F16Overflow {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("f16_overflow.steps", self.steps)?;
        setting::above("f16_overflow.loss_scale", self.loss_scale, 0.0)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn f16_loss_scale(&self) -> Option<f64> {
        Some(self.loss_scale)
    }
}
