use serde::{Deserialize, Serialize};

use super::{GradientGrowth, Measurements};
use crate::dynamics::{Axis, FixedPoint, GrowthPoint, RangeForecast};
use crate::float;

/// The depth, or sequence length, at which gradients and activations leave each number format.
///
/// All counts are steps from the start of the signal: from the last layer backwards for the
/// gradient, from the first layer forwards for the activation. Overflow is that of the largest
/// value, underflow that of the root mean square.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthForecast {
    /// The direction of the growth.
    pub axis: Axis,
    /// The number of steps that the network has now.
    pub steps: usize,
    /// The log growth of the gradient per step.
    pub gradient_growth: GradientGrowth,
    /// The largest value of the gradient at its start. `None` when it is zero or not finite there.
    #[serde(with = "float::option")]
    pub gradient_max_abs: Option<f64>,
    /// The root mean square of the gradient's values at its start.
    #[serde(with = "float::option")]
    pub gradient_rms: Option<f64>,
    /// The gradient in each number format. Empty when it is zero or not finite at its start.
    pub gradient: Vec<RangeForecast>,
    /// The log growth of the activations' root mean square per step. `None` without a lasting rate:
    /// the activations are bounded, or settle, or are known at fewer than two points.
    #[serde(with = "float::option")]
    pub activation_log_growth: Option<f64>,
    /// The activations in each number format. Empty without a rate.
    pub activation: Vec<RangeForecast>,
}

impl GrowthForecast {
    /// Forecasts from measurements. The gradient's growth is [`Measurements::log_growth`]. `None`
    /// when that is not known.
    pub fn new(measurements: &Measurements) -> Option<Self> {
        let profile = &measurements.growth;
        let gradient_growth = measurements.log_growth()?;
        let growth = gradient_growth.rate.value;
        // The last point with a usable gradient. The points behind it pass no gradient back.
        let start = profile.points.iter().rev().find(|point| {
            let usable = |size: f64| size > 0.0 && size.is_finite();
            usable(point.gradient_max_abs) && usable(point.gradient_rms)
        });
        let gradient = start.map(|point| {
            let over = RangeForecast::all(point.gradient_max_abs, growth);
            let under = RangeForecast::all(point.gradient_rms, growth);
            let both = over.into_iter().zip(under);
            both.map(|(mut forecast, under)| {
                forecast.underflows_at = under.underflows_at;
                forecast
            })
            .collect()
        });
        let activation_log_growth = activation_growth(measurements);
        let first = profile.points.first().map_or(0.0, |one| one.activation_rms);
        Some(Self {
            axis: profile.axis,
            steps: profile.points.len().saturating_sub(1),
            gradient_growth,
            gradient_max_abs: start.map(|point| point.gradient_max_abs),
            gradient_rms: start.map(|point| point.gradient_rms),
            gradient: gradient.unwrap_or_default(),
            activation: activation_log_growth
                .map(|growth| RangeForecast::all(first, growth))
                .unwrap_or_default(),
            activation_log_growth,
        })
    }
}

/// The activations' log growth per step, from the first point to the last finite one. `None` where
/// it cannot last: a bounded activation does not grow, and by mean-field theory a signal that
/// settles neither grows nor shrinks in the end.
fn activation_growth(measurements: &Measurements) -> Option<f64> {
    let usable =
        |point: &&GrowthPoint| point.activation_rms > 0.0 && point.activation_rms.is_finite();
    let points: Vec<&GrowthPoint> = measurements
        .growth
        .points
        .iter()
        .take_while(usable)
        .collect();
    let (first, last) = (points.first()?, points.last()?);
    let steps = points.len() - 1;
    if steps == 0 {
        return None;
    }
    let growth = (last.activation_rms / first.activation_rms).ln() / steps as f64;
    let lasts = match measurements.criticality.map(|found| found.fixed_point) {
        Some(FixedPoint::Finite(_) | FixedPoint::Every(_)) => false,
        Some(FixedPoint::Zero) => growth < 0.0,
        Some(FixedPoint::Diverges) => growth > 0.0,
        None => growth < 0.0 || !measurements.activation.is_bounded(),
    };
    lasts.then_some(growth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::healthy_measurements;
    use crate::dynamics::{Activation, Criticality, GradientSize, GrowthProfile, MeanField};
    use crate::measurements::GrowthSource;

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
        assert_eq!((found.steps, found.gradient_max_abs), (30, Some(1.0)));
        assert!((found.gradient[0].overflows_at.unwrap() - 16.0).abs() < 1e-3);
        assert!((found.activation[0].overflows_at.unwrap() - 16.0).abs() < 1e-3);
    }

    /// A number format limits values. The norm of many values is larger than any of them.
    #[test]
    fn the_largest_value_overflows_and_the_usual_one_underflows() {
        let mut measurements = healthy_measurements();
        let size = |l: i32| GradientSize {
            norm: 100.0 * 2f64.powi(30 - l),
            rms: 2f64.powi(30 - l),
            max_abs: 4.0 * 2f64.powi(30 - l),
        };
        let profile = |size: &dyn Fn(i32) -> GradientSize| {
            GrowthProfile::new(
                Axis::Depth,
                (0..31).map(|l| (format!("l{l}"), 1.0, size(l))),
            )
        };
        measurements.growth = profile(&size);
        let grows = GrowthForecast::new(&measurements).unwrap();
        assert!((grows.gradient[0].overflows_at.unwrap() - 14.0).abs() < 1e-3);
        measurements.growth = profile(&|l| size(60 - l));
        let shrinks = GrowthForecast::new(&measurements).unwrap();
        // f16's smallest normal value is 2^-14; the rms starts at 1.
        assert!((shrinks.gradient[0].underflows_at.unwrap() - 14.0).abs() < 1e-9);
    }

    #[test]
    fn only_a_lasting_growth_of_activations_is_extrapolated() {
        let with = |activation, criticality, growth: f64| {
            let mut measurements = healthy_measurements();
            (measurements.activation, measurements.criticality) = (activation, criticality);
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                (0..11).map(|l| (format!("l{l}"), growth.powi(l), 1.0)),
            );
            GrowthForecast::new(&measurements)
                .unwrap()
                .activation_log_growth
        };
        // A tanh signal that still grows towards its bound overflows nothing.
        assert_eq!(with(Activation::Tanh, None, 1.1), None);
        assert!(with(Activation::Tanh, None, 0.9).is_some());
        assert!(with(Activation::Relu, None, 1.1).is_some());
        let theory = |sigma_w| {
            let network = MeanField::new(Activation::Selu, sigma_w, 0.0).ok()?;
            Criticality::new(network, 1.0, 10).ok()
        };
        assert_eq!(with(Activation::Selu, theory(1.0), 1.1), None);
        assert!(with(Activation::Selu, theory(3.0), 2.0).is_some());
        // A signal that overflows on the way counts as far as it is finite.
        let overflowing = with(Activation::Linear, None, 1e40).unwrap();
        assert!((overflowing - 1e40f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn without_a_profile_the_jacobians_or_the_theory_count() {
        // The healthy measurements have no spectrum and no theory.
        assert_eq!(forecast(|l| if l == 0 { f64::NAN } else { 1.0 }), None);
        assert_eq!(forecast(|_| 0.0), None);
        let mut measurements = healthy_measurements();
        measurements.growth = GrowthProfile::new(
            Axis::Depth,
            (0..31).map(|l| (format!("l{l}"), 1.0, f64::INFINITY)),
        );
        let network = MeanField::new(Activation::Linear, 1.5, 0.0).unwrap();
        measurements.criticality = Criticality::new(network, 1.0, 30).ok();
        let found = GrowthForecast::new(&measurements).unwrap();
        assert_eq!(found.gradient_growth.source, GrowthSource::MeanField);
        assert!((found.gradient_growth.rate.value - 1.5f64.ln()).abs() < 1e-9);
        assert_eq!((found.gradient_max_abs, found.gradient), (None, vec![]));
    }
}
