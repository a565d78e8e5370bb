use serde::{Deserialize, Serialize};

use super::error::checked_variance;
use super::{MeanField, MeanFieldError};
use crate::float;

/// One layer as mean-field theory expects it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerForecast {
    /// The variance of the pre-activations. Infinite when it exceeds f64.
    #[serde(with = "float")]
    pub length: f64,
    /// The growth of the squared gradient norm from the next layer's pre-activations to this one's.
    #[serde(with = "float")]
    pub chi_1: f64,
}

impl LayerForecast {
    /// `ln(chi_1) / 2`: growth of the log gradient norm. Minus infinity when no gradient passes.
    pub fn log_growth(&self) -> f64 {
        0.5 * self.chi_1.ln()
    }
}

/// A network as mean-field theory expects it, layer by layer, before any training step.
///
/// Unlike the fixed point, it holds for shallow networks too, and near criticality, where a signal
/// takes hundreds of layers to settle. [`MeanField::forecast`] makes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeanFieldForecast {
    /// The layers in forward order.
    pub layers: Vec<LayerForecast>,
}

impl MeanField {
    /// Follows a signal whose first pre-activations have the variance `q_1` through `layers`
    /// layers. An input `x` of `n` values has `q_1 = sigma_w^2 |x|^2 / n + sigma_b^2`. No layers
    /// give an empty forecast.
    ///
    /// # Errors
    /// [`MeanFieldError::Length`] for a `q_1` that is negative or not finite.
    pub fn forecast(&self, q_1: f64, layers: usize) -> Result<MeanFieldForecast, MeanFieldError> {
        let mut length = checked_variance(q_1)?;
        let mut forecast: Vec<LayerForecast> = Vec::with_capacity(layers);
        for _ in 0..layers {
            // Once the signal has settled, every layer equals the one before.
            let layer = match forecast.last() {
                Some(&before) if before.length == length => before,
                _ => LayerForecast {
                    length,
                    chi_1: self.chi_1(length),
                },
            };
            forecast.push(layer);
            length = self.length_map(length);
        }
        Ok(MeanFieldForecast { layers: forecast })
    }
}

impl MeanFieldForecast {
    /// Log growth of the gradient norm from the last layer's pre-activations back to the first's:
    /// `ln(|dL/dh_1| / |dL/dh_L|)`. It is a sum of logarithms, which no depth overflows. 0 for
    /// fewer than two layers; minus infinity when a layer passes no gradient.
    pub fn log_growth(&self) -> f64 {
        let all_but_last = self.layers.len().saturating_sub(1);
        let layers = self.layers.iter().take(all_but_last);
        layers.map(LayerForecast::log_growth).sum()
    }

    /// [`MeanFieldForecast::log_growth`] per layer. `None` for fewer than two layers.
    pub fn gradient_slope(&self) -> Option<f64> {
        let steps = self.layers.len().checked_sub(1)?;
        (steps > 0).then(|| self.log_growth() / steps as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    fn network(activation: Activation, sigma_w: f64) -> MeanField {
        MeanField::new(activation, sigma_w, 0.0).unwrap()
    }

    #[test]
    fn deep_linear_networks_are_exact() {
        let forecast = network(Activation::Linear, 0.5).forecast(8.0, 4).unwrap();
        let lengths: Vec<f64> = forecast.layers.iter().map(|layer| layer.length).collect();
        assert_eq!(lengths, [8.0, 2.0, 0.5, 0.125]);
        assert!((forecast.log_growth() - 3.0 * 0.5f64.ln()).abs() < 1e-15);
        assert!((forecast.gradient_slope().unwrap() - 0.5f64.ln()).abs() < 1e-15);
    }

    /// `3^1000` is beyond f64, and so is the signal's variance from layer 324 on.
    #[test]
    fn a_thousand_layers_beyond_f64() {
        for activation in [Activation::Linear, Activation::Gelu, Activation::Selu] {
            let forecast = network(activation, 6.0).forecast(1.0, 1_000).unwrap();
            let growth = forecast.log_growth();
            assert!(growth > f64::MAX.ln() && growth.is_finite(), "{growth}");
            assert_eq!(forecast.layers[999].length, f64::INFINITY);
            let json = serde_json::to_string(&forecast).unwrap();
            assert_eq!(
                serde_json::from_str::<MeanFieldForecast>(&json).unwrap(),
                forecast
            );
        }
        let vanishing = network(Activation::Relu, 0.1).forecast(1.0, 1_000).unwrap();
        let exact = 999.0 * 0.5 * 0.005f64.ln();
        assert!((vanishing.log_growth() / exact - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_long_forecast_ends_at_the_fixed_point() {
        let tanh = network(Activation::Tanh, 2.0);
        let forecast = tanh.forecast(30.0, 200).unwrap();
        let last = forecast.layers[199].log_growth();
        assert!((last - tanh.gradient_slope()).abs() < 1e-12);
        assert!((forecast.layers[0].log_growth() - last).abs() > 0.1);
    }

    #[test]
    fn no_layer_one_layer_no_signal_and_no_sense() {
        let tanh = network(Activation::Tanh, 1.0);
        for layers in [0, 1] {
            let forecast = tanh.forecast(1.0, layers).unwrap();
            assert_eq!(
                (forecast.layers.len(), forecast.log_growth()),
                (layers, 0.0)
            );
            assert_eq!(forecast.gradient_slope(), None);
        }
        assert_eq!(tanh.forecast(0.0, 3).unwrap().log_growth(), 0.0);
        let cut = network(Activation::Tanh, 0.0).forecast(1.0, 3).unwrap();
        assert_eq!(cut.log_growth(), f64::NEG_INFINITY);
        for q in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                tanh.forecast(q, 3),
                Err(MeanFieldError::Length(_))
            ));
        }
    }
}
