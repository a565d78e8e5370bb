use serde::{Deserialize, Serialize};

use crate::dynamics::{Axis, RangeForecast};
use crate::float;
use crate::measurements::Measurements;

/// At which depth, or sequence length, gradients and activations leave each number format.
///
/// All counts are steps from where the signal starts: from the last layer backwards for the
/// gradient, from the first layer forwards for the activation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthForecast {
    /// Through what.
    pub axis: Axis,
    /// Steps the network has now.
    pub steps: usize,
    /// Log growth of the gradient norm a step.
    #[serde(with = "float")]
    pub gradient_log_growth: f64,
    /// The gradient's norm where it starts.
    #[serde(with = "float")]
    pub gradient_norm: f64,
    /// The gradient in each number format.
    pub gradient: Vec<RangeForecast>,
    /// Log growth of the activations' root mean square a step; `None` when they have no rate.
    #[serde(with = "float::option")]
    pub activation_log_growth: Option<f64>,
    /// The activations in each number format; empty without a rate.
    pub activation: Vec<RangeForecast>,
}

impl GrowthForecast {
    /// From what was measured. The gradient's growth is the measured profile's, which weighs all
    /// directions as the loss does; where an end of that profile has under- or overflowed, it is
    /// the leading exponent. `None` when neither is known.
    pub fn new(measurements: &Measurements) -> Option<Self> {
        let profile = &measurements.growth;
        let gradient_log_growth = measurements.log_growth()?;
        // The last point with a usable gradient; those behind it passed nothing back.
        let gradient_norm = profile
            .points
            .iter()
            .rev()
            .map(|point| point.gradient_norm)
            .find(|norm| *norm > 0.0 && norm.is_finite())?;
        let activation_log_growth = profile.forward_growth_rate().map(f64::ln);
        let first = profile
            .points
            .first()
            .map_or(0.0, |point| point.activation_rms);
        Some(Self {
            axis: profile.axis,
            steps: profile.points.len().saturating_sub(1),
            gradient_log_growth,
            gradient_norm,
            gradient: RangeForecast::all(gradient_norm, gradient_log_growth),
            activation: activation_log_growth
                .map(|growth| RangeForecast::all(first, growth))
                .unwrap_or_default(),
            activation_log_growth,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::healthy_measurements;
    use crate::dynamics::GrowthProfile;

    fn forecast(gradient: fn(i32) -> f64) -> Option<GrowthForecast> {
        let mut measurements = healthy_measurements();
        measurements.growth = GrowthProfile::new(
            Axis::Depth,
            (0..31).map(|l| (format!("l{l}"), 2f64.powi(l), gradient(l))),
        );
        GrowthForecast::new(&measurements)
    }

    #[test]
    fn a_doubling_gradient_overflows_f16_after_sixteen_layers() {
        let found = forecast(|l| 2f64.powi(30 - l)).unwrap();
        assert_eq!((found.steps, found.gradient_norm), (30, 1.0));
        assert!((found.gradient[0].overflows_at.unwrap() - 16.0).abs() < 1e-3);
        assert!((found.activation[0].overflows_at.unwrap() - 16.0).abs() < 1e-3);
    }

    #[test]
    fn a_profile_without_a_rate_takes_the_leading_exponent_or_none() {
        // The healthy measurements have no spectrum.
        assert_eq!(forecast(|l| if l == 0 { f64::NAN } else { 1.0 }), None);
        assert_eq!(forecast(|_| 0.0), None);
    }
}
