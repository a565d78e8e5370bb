use serde::{Deserialize, Serialize};

use crate::float;

/// A named number that supports a finding, a forecast or a remedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The name of the measured quantity.
    pub name: String,
    /// The value. NaN and infinities are kept.
    #[serde(with = "float")]
    pub value: f64,
}

impl Evidence {
    /// Makes evidence from a name and a value.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}
