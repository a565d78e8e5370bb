use serde::{Deserialize, Serialize};
use steadygrad::setting::{self, SettingError};

use super::injection::{Injection, Window};
use super::weights::WeightChange;

/// One bit of one weight flips once: memory hit by a particle, or a bad module. It stays flipped
/// until the weight is overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitFlip {
    /// The attempt in which it flips.
    pub at_step: u64,
    /// Dotted path of the parameter; without it any parameter may be hit. The seed picks the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The bit of the f32, from the lowest: 0 to 22 are the mantissa, 23 to 30 the exponent, 31 is
    /// the sign. Flipping bit 30 multiplies a weight below 2 in size by 2^128.
    #[serde(default = "bit")]
    pub bit: u8,
}

fn bit() -> u8 {
    30
}

impl BitFlip {
    /// Flips the highest bit of an exponent, in any parameter.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            parameter: None,
            bit: bit(),
        }
    }
}

impl Injection for BitFlip {
    fn check(&self) -> Result<(), SettingError> {
        setting::count("bit_flip.bit", self.bit.into(), 0, 31)
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, 1)
    }

    fn parameter(&self) -> Option<&str> {
        self.parameter.as_deref()
    }

    fn weights(&self, pick: u64) -> Option<WeightChange> {
        Some(WeightChange::FlipBit {
            parameter: self.parameter.clone(),
            pick,
            bit: self.bit,
        })
    }
}
