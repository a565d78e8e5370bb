use serde::{Deserialize, Serialize};

use crate::float;

/// A named number that a finding, a forecast or a remedy rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// What was measured.
    pub name: String,
    /// Its value; NaN and infinities are kept.
    #[serde(with = "float")]
    pub value: f64,
}

impl Evidence {
    /// Names a number.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}
