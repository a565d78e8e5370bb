use serde::{Deserialize, Serialize};

use crate::float;

/// The part that a weight matrix plays in the network.
///
/// The list is closed: each part has its own initialisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatrixRole {
    /// It reads the data.
    Input,
    /// It is one of the repeated layers between input and output.
    Hidden,
    /// It carries a recurrent state from one time step to the next.
    Recurrent,
    /// It writes the logits or the prediction.
    Output,
}

impl MatrixRole {
    /// Whether the product of Jacobians contains its growth factor many times.
    pub fn is_repeated(self) -> bool {
        matches!(self, MatrixRole::Hidden | MatrixRole::Recurrent)
    }
}

/// One weight matrix at initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightMatrix {
    /// The dotted path of the parameter.
    pub name: String,
    /// Its part in the network.
    pub role: MatrixRole,
    /// The number of inputs of each unit.
    pub fan_in: usize,
    /// The number of units.
    pub fan_out: usize,
    /// The Frobenius norm.
    #[serde(with = "float")]
    pub frobenius_norm: f64,
    /// The largest singular value, by power iteration.
    #[serde(with = "float")]
    pub spectral_norm: f64,
}

impl WeightMatrix {
    /// The gain `sigma_w = std * sqrt(fan_in)`, with the standard deviation of the weights
    /// themselves: `frobenius_norm / sqrt(fan_out)`. NaN for a matrix without units.
    pub fn gain(&self) -> f64 {
        self.frobenius_norm / (self.fan_out as f64).sqrt()
    }
}
