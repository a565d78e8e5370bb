//! What is measured on a model before any training step: the ground every finding and every
//! remedy's parameter stands on.

use serde::{Deserialize, Serialize};

use crate::dynamics::{Activation, GrowthProfile};
use crate::float;

/// What a weight matrix does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatrixRole {
    /// Reads the data.
    Input,
    /// One of the repeated layers between input and output.
    Hidden,
    /// Carries a recurrent state from one time step to the next.
    Recurrent,
    /// Writes the logits or the prediction.
    Output,
}

impl MatrixRole {
    /// Whether its growth factor enters the product of Jacobians again and again.
    pub fn is_repeated(self) -> bool {
        matches!(self, MatrixRole::Hidden | MatrixRole::Recurrent)
    }
}

/// One weight matrix at initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightMatrix {
    /// Dotted path of the parameter.
    pub name: String,
    /// What it does.
    pub role: MatrixRole,
    /// Number of inputs of each unit.
    pub fan_in: usize,
    /// Number of units.
    pub fan_out: usize,
    /// Frobenius norm.
    #[serde(with = "float")]
    pub frobenius_norm: f64,
    /// Largest singular value, by power iteration.
    #[serde(with = "float")]
    pub spectral_norm: f64,
}

impl WeightMatrix {
    /// The gain `sigma_w = std * sqrt(fan_in)`, with the standard deviation read off the weights
    /// themselves: `frobenius_norm / sqrt(fan_out)`. NaN for a matrix without units.
    pub fn gain(&self) -> f64 {
        self.frobenius_norm / (self.fan_out as f64).sqrt()
    }
}

/// The largest curvature of the loss along one direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sharpness {
    /// Largest eigenvalue of the Hessian, in absolute value, as far as the iteration got.
    #[serde(with = "float")]
    pub lambda_max: f64,
    /// Relative change in the last iteration: how far it can be trusted.
    #[serde(with = "float")]
    pub last_change: f64,
    /// Iterations spent.
    pub iterations: usize,
}

/// Everything measured at initialisation, on the first training batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// Loss of the first batch.
    #[serde(with = "float")]
    pub loss: f64,
    /// Root mean square of the network's input.
    #[serde(with = "float")]
    pub input_rms: f64,
    /// Activation and gradient size through depth or time.
    pub growth: GrowthProfile,
    /// The repeated layers' activation.
    pub activation: Activation,
    /// The weight matrices in model order.
    pub weights: Vec<WeightMatrix>,
    /// L2 norm of all parameters.
    #[serde(with = "float")]
    pub weight_norm: f64,
    /// Global norm of the first gradient.
    #[serde(with = "float")]
    pub global_norm: f64,
    /// Share of the first gradient's values that are subnormal, in `0..=1`.
    #[serde(with = "float")]
    pub subnormal_share: f64,
    /// Curvature, or `None` when it could not be measured (the loss or a gradient overflowed).
    pub sharpness: Option<Sharpness>,
}

impl Measurements {
    /// Median gain of the repeated matrices. `None` when there is none.
    pub fn repeated_gain(&self) -> Option<f64> {
        self.median_repeated(WeightMatrix::gain)
    }

    /// Median spectral norm of the repeated matrices. `None` when there is none.
    pub fn repeated_spectral_norm(&self) -> Option<f64> {
        self.median_repeated(|matrix| matrix.spectral_norm)
    }

    fn median_repeated(&self, value: impl Fn(&WeightMatrix) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self
            .weights
            .iter()
            .filter(|matrix| matrix.role.is_repeated())
            .map(value)
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

/// Numbers that several rules and remedies need, at the point where a run was set up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSetup {
    /// Learning rate of the baseline.
    pub learning_rate: f64,
    /// Momentum coefficient of SGD; 0 without.
    pub momentum: f64,
    /// Number of repeated layers, if the model has a depth that can be changed.
    pub depth: Option<usize>,
    /// Number of time steps, if the model is recurrent.
    pub sequence_length: Option<usize>,
}

impl TrainingSetup {
    /// The sharpness above which gradient descent with this momentum is unstable on a quadratic:
    /// `2 (1 + momentum) / learning_rate` (Cohen et al., 2021, section 2).
    pub fn stable_sharpness(&self) -> f64 {
        2.0 * (1.0 + self.momentum) / self.learning_rate
    }
}
