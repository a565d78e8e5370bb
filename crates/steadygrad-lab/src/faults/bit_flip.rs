use serde::{Deserialize, Serialize};

use super::FaultError;
use super::error::check;
use super::injection::{Injection, Window};
use super::weights::WeightChange;

/// One bit of one weight flips: memory hit by a particle, or a bad module. Once, at one attempt,
/// and it stays until the weight is overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitFlip {
    /// The attempt.
    pub at_step: u64,
    /// Dotted path of the parameter; left out, it may be any. The seed picks the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The bit of the f32, from 0 at the low end: 0 to 22 are the mantissa, 23 to 30 the exponent,
    /// 31 is the sign. Bit 30 makes a weight below 2 in size larger by 2^128.
    #[serde(default = "bit")]
    pub bit: u8,
}

fn bit() -> u8 {
    30
}

impl BitFlip {
    /// The highest bit of an exponent, in any parameter.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            parameter: None,
            bit: bit(),
        }
    }
}

impl Injection for BitFlip {
    fn check(&self) -> Result<(), FaultError> {
        check("bit_flip.bit", self.bit, self.bit < 32, "give 0 to 31")
    }

    fn window(&self) -> Window {
        Window {
            at_step: self.at_step,
            steps: Some(1),
        }
    }

    fn weights(&self, pick: u64) -> Option<WeightChange> {
        Some(WeightChange::FlipBit {
            parameter: self.parameter.clone(),
            pick,
            bit: self.bit,
        })
    }
}
