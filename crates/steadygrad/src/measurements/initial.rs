use serde::{Deserialize, Serialize};

use super::{GradientGrowth, GrowthSource, Sharpness, WeightMatrix};
use crate::dynamics::{
    Activation, Criticality, Exponent, GrowthProfile, GrowthSpectrum, MeanField,
};
use crate::float;
use crate::statistics::median;

/// Everything that is measured at initialisation, on the first training batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// The loss of the first batch.
    #[serde(with = "float")]
    pub loss: f64,
    /// The root mean square of the network's input.
    #[serde(with = "float")]
    pub input_rms: f64,
    /// The size of activations and gradients through depth or time.
    pub growth: GrowthProfile,
    /// The exponents of the product of Jacobians. `None` when the subject gives no stages, or a
    /// state or a tangent overflowed.
    pub spectrum: Option<GrowthSpectrum>,
    /// The place of the initialisation by mean-field theory. `None` for a model without repeated
    /// layers, with normalisation between them, which the theory does not describe, or whose first
    /// signal is not finite.
    pub criticality: Option<Criticality>,
    /// Whether any repeated layer is normalised.
    pub normalized: bool,
    /// The activation of the repeated layers.
    pub activation: Activation,
    /// The weight matrices, in model order.
    pub weights: Vec<WeightMatrix>,
    /// The L2 norm of all parameters.
    #[serde(with = "float")]
    pub weight_norm: f64,
    /// The global norm of the first gradient.
    #[serde(with = "float")]
    pub global_norm: f64,
    /// The share of the first gradient's values that are subnormal, in `0..=1`.
    #[serde(with = "float")]
    pub subnormal_share: f64,
    /// The mean diagonal of the repeated layers' Jacobians, by random directions (Hutchinson): the
    /// share of its input that a layer passes on unchanged. It is about 1 in a residual network,
    /// and a half or more where a ReLU follows the sum. `None` where it was not measured, as for
    /// time steps and for plain or normalised layers.
    #[serde(
        default,
        with = "float::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub skip_share: Option<f64>,
    /// The curvature. `None` when the loss or a gradient overflowed.
    pub sharpness: Option<Sharpness>,
}

/// The least [`Measurements::skip_share`] of a residual network. A residual network's mean diagonal
/// is at least a half, a plain layer's 0 up to the error of a few random directions.
const RESIDUAL_SKIP_SHARE: f64 = 0.25;

impl Measurements {
    /// Whether the repeated layers are residual blocks, by the measured `skip_share`. `false` when
    /// it was not measured.
    pub fn is_residual(&self) -> bool {
        self.skip_share.unwrap_or(0.0) >= RESIDUAL_SKIP_SHARE
    }

    /// The median gain of the repeated matrices. `None` without any.
    pub fn repeated_gain(&self) -> Option<f64> {
        self.median_repeated(WeightMatrix::gain)
    }

    /// The log growth of the gradient norm per step, backwards, from the best source. `None` when
    /// no source has a finite rate.
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

    /// The weight scale at which gradients neither vanish nor explode. It takes the measured biases
    /// into account where mean-field theory applies, and is the activation's own scale elsewhere.
    /// `None` when there is no such scale.
    pub fn critical_gain(&self) -> Option<f64> {
        match self.criticality {
            Some(found) => found.critical_sigma_w(),
            None => self.activation.critical_gain(),
        }
    }

    /// The place of the initialisation by mean-field theory, from the median gain of the repeated
    /// matrices, the standard deviation of their biases, and the signal that enters them. `None`
    /// without repeated matrices, or where that signal is not finite. It describes plain layers
    /// alone, without normalisation between them.
    pub fn mean_field(&self, bias_std: f64) -> Option<Criticality> {
        let gain = self.repeated_gain()?;
        let points = &self.growth.points;
        let signal = points.first()?.activation_rms;
        let q_0 = (gain * signal).powi(2) + bias_std * bias_std;
        let network = MeanField::new(self.activation, gain, bias_std).ok()?;
        Criticality::new(network, q_0, points.len() - 1).ok()
    }

    /// The median spectral norm of the repeated matrices. `None` without any.
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
        median(&mut values)
    }
}
