use serde::{Deserialize, Serialize};

use super::FaultError;
use super::error::{check, check_steps};
use super::injection::{Injection, Window};

/// Gradients pass through f16 with a loss scale that is too large: whatever exceeds
/// 65504 / `loss_scale` becomes infinite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct F16Overflow {
    /// The first attempt.
    pub at_step: u64,
    /// For so many attempts.
    #[serde(default = "steps")]
    pub steps: u64,
    /// What the loss is multiplied by before the backward pass.
    #[serde(default = "loss_scale")]
    pub loss_scale: f64,
}

fn steps() -> u64 {
    1
}

/// PyTorch's scaler starts at 2^16 and doubles every 2,000 steps without an overflow: 2^24 is where
/// 16,000 calm steps bring it.
fn loss_scale() -> f64 {
    f64::from(1 << 24)
}

impl F16Overflow {
    /// One step with a loss scale of 2^24: a gradient overflows from 0.0039 on.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            loss_scale: loss_scale(),
        }
    }
}

impl Injection for F16Overflow {
    fn check(&self) -> Result<(), FaultError> {
        check_steps("f16_overflow.steps", self.steps)?;
        check(
            "f16_overflow.loss_scale",
            self.loss_scale,
            self.loss_scale.is_finite() && self.loss_scale > 0.0,
            "give a positive, finite number",
        )
    }

    fn window(&self) -> Window {
        Window {
            at_step: self.at_step,
            steps: Some(self.steps),
        }
    }

    fn f16_loss_scale(&self) -> Option<f64> {
        Some(self.loss_scale)
    }
}
