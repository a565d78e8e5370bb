//! What is measured on a model before any training step: the ground every finding and every
//! remedy's parameter stands on.

use serde::{Deserialize, Serialize};

use crate::dynamics::{Activation, Criticality, Exponent, GrowthProfile, GrowthSpectrum};
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

/// The two ends of the curvature of the loss: the extreme eigenvalues of its Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sharpness {
    /// Largest eigenvalue, with its sign: the steepest upward bend, which bounds the learning
    /// rate. Not positive when the loss bends upwards nowhere.
    #[serde(with = "float")]
    pub lambda_max: f64,
    /// Smallest eigenvalue, with its sign: negative beside a saddle.
    #[serde(with = "float")]
    pub lambda_min: f64,
    /// A true eigenvalue lies within this distance of `lambda_max` (the Lanczos residual).
    #[serde(with = "float")]
    pub residual: f64,
    /// Hessian-vector products spent.
    pub iterations: usize,
    /// Rows of data that the loss was the mean of.
    pub rows: usize,
    /// Length of the finite-difference step over the weights' norm; 0 where the products are exact.
    #[serde(with = "float")]
    pub relative_step: f64,
}

impl Sharpness {
    /// The learning rate above which gradient descent with this momentum (heavy ball) is unstable
    /// on a quadratic: `2 (1 + momentum) / lambda_max` (Cohen et al., 2021, section 2). `None`
    /// when `lambda_max` is not positive and finite: there is no such bound then.
    pub fn largest_stable_learning_rate(&self, momentum: f64) -> Option<f64> {
        let bounded = self.lambda_max > 0.0 && self.lambda_max.is_finite();
        bounded.then(|| 2.0 * (1.0 + momentum) / self.lambda_max)
    }

    /// `residual / |lambda_max|`. NaN or infinite when `lambda_max` is zero.
    pub fn relative_error(&self) -> f64 {
        self.residual / self.lambda_max.abs()
    }
}

/// What a gradient's growth was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrowthSource {
    /// The measured gradient at both ends of the network.
    Profile,
    /// The mean of the layers' own Jacobians in a random direction: an end of the profile has
    /// under- or overflowed.
    Jacobians,
    /// Mean-field theory, from the weight scale: nothing could be measured.
    MeanField,
}

/// Growth of the gradient a step, backwards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradientGrowth {
    /// What it was read from.
    pub source: GrowthSource,
    /// Natural logarithm of the factor a step, with its error over the steps.
    pub rate: Exponent,
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
    /// The exponents of the product of Jacobians; `None` when the subject gives no stages, or its
    /// state or a tangent overflowed.
    pub spectrum: Option<GrowthSpectrum>,
    /// Where the initialisation lies by mean-field theory; `None` for a model without repeated
    /// layers, with normalisation between them, which the theory does not describe, or whose first
    /// signal is not finite.
    pub criticality: Option<Criticality>,
    /// Whether some repeated layers are normalised.
    pub normalized: bool,
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
    /// Mean diagonal of the repeated layers' Jacobians, by random directions (Hutchinson): how much of
    /// its input a layer hands on as it is. About 1 in a residual network, a half or more where a ReLU
    /// follows the sum. `None` where it was not measured, as of time steps, and of plain or normalised
    /// layers.
    #[serde(
        default,
        with = "float::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub skip_share: Option<f64>,
    /// Curvature, or `None` when it could not be measured (the loss or a gradient overflowed).
    pub sharpness: Option<Sharpness>,
}

/// The least [`Measurements::skip_share`] of a residual network. A residual network's mean diagonal
/// is at least a half, a plain layer's 0 up to the error of a few random directions.
const RESIDUAL_SKIP_SHARE: f64 = 0.25;

impl Measurements {
    /// Whether the repeated layers are residual blocks, by the measured `skip_share`. `false` when it
    /// was not measured.
    pub fn is_residual(&self) -> bool {
        self.skip_share.unwrap_or(0.0) >= RESIDUAL_SKIP_SHARE
    }

    /// Median gain of the repeated matrices. `None` when there is none.
    pub fn repeated_gain(&self) -> Option<f64> {
        self.median_repeated(WeightMatrix::gain)
    }

    /// Log growth of the gradient norm a step, backwards, from the best source there is. `None`
    /// when nothing finite is known.
    pub fn log_growth(&self) -> Option<GradientGrowth> {
        let measured = self.growth.backward_log_growth();
        let spectrum = || self.spectrum.as_ref()?.mean_log_growth();
        let theory = || {
            Some(Exponent {
                value: self.criticality?.log_growth,
                standard_error: None,
            })
        };
        let found = |source, rate: Option<Exponent>| {
            let rate = rate.filter(|rate| rate.value.is_finite())?;
            Some(GradientGrowth { source, rate })
        };
        found(GrowthSource::Profile, measured)
            .or_else(|| found(GrowthSource::Jacobians, spectrum()))
            .or_else(|| found(GrowthSource::MeanField, theory()))
    }

    /// The weight scale at which gradients neither vanish nor explode: with the measured biases
    /// where mean-field theory applies, else the activation's own. `None` when it has none.
    pub fn critical_gain(&self) -> Option<f64> {
        match self.criticality {
            Some(found) => found.critical_sigma_w(),
            None => self.activation.critical_gain(),
        }
    }

    /// Where the initialisation lies by mean-field theory: from the repeated matrices' median gain,
    /// their biases' standard deviation, and the signal that enters them. `None` without repeated
    /// matrices, or where that signal is not finite. It describes plain layers alone, without
    /// normalisation between them.
    pub fn mean_field(&self, bias_std: f64) -> Option<Criticality> {
        let gain = self.repeated_gain()?;
        let points = &self.growth.points;
        let signal = points.first()?.activation_rms;
        let q_0 = (gain * signal).powi(2) + bias_std * bias_std;
        Criticality::new(self.activation, gain, bias_std, q_0, points.len() - 1).ok()
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

/// How an optimizer turns a gradient into an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRule {
    /// Learning rate times gradient, with or without momentum.
    Sgd,
    /// Adam and its kin, whose first update moves every parameter by the learning rate.
    Adam,
}

/// Numbers that several rules and remedies need, at the point where a run was set up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSetup {
    /// Learning rate of the baseline.
    pub learning_rate: f64,
    /// Momentum coefficient of SGD; 0 without.
    pub momentum: f64,
    /// The optimizer's kind; `None` where it is not known or another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_rule: Option<UpdateRule>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_upward_bend_bounds_the_learning_rate() {
        let with = |lambda_max| Sharpness {
            lambda_max,
            lambda_min: -3.0,
            residual: 0.5,
            iterations: 9,
            rows: 4,
            relative_step: 1e-5,
        };
        assert_eq!(with(4.0).largest_stable_learning_rate(0.0), Some(0.5));
        assert_eq!(with(4.0).largest_stable_learning_rate(0.5), Some(0.75));
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(with(none).largest_stable_learning_rate(0.9), None, "{none}");
        }
        assert_eq!(with(-2.0).relative_error(), 0.25);
        assert!(with(0.0).relative_error().is_infinite());
    }
}
