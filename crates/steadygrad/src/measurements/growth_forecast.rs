use serde::{Deserialize, Serialize};

use crate::dynamics::{Axis, FixedPoint, GrowthPoint, RangeForecast};
use crate::float;
use crate::measurements::{GradientGrowth, Measurements};

/// At which depth, or sequence length, gradients and activations leave each number format.
///
/// All counts are steps from where the signal starts: from the last layer backwards for the
/// gradient, from the first layer forwards for the activation. What overflows first is the largest
/// value; underflow is that of the root mean square.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthForecast {
    /// Through what.
    pub axis: Axis,
    /// Steps the network has now.
    pub steps: usize,
    /// Log growth of the gradient a step.
    pub gradient_growth: GradientGrowth,
    /// Largest value of the gradient where it starts; `None` when it is zero or not finite there.
    #[serde(with = "float::option")]
    pub gradient_max_abs: Option<f64>,
    /// Root mean square of its values there.
    #[serde(with = "float::option")]
    pub gradient_rms: Option<f64>,
    /// The gradient in each number format; empty when it is zero or not finite where it starts.
    pub gradient: Vec<RangeForecast>,
    /// Log growth of the activations' root mean square a step; `None` when they have no lasting
    /// rate: they are bounded, or settle, or are not known at two points.
    #[serde(with = "float::option")]
    pub activation_log_growth: Option<f64>,
    /// The activations in each number format; empty without a rate.
    pub activation: Vec<RangeForecast>,
}

impl GrowthForecast {
    /// From what was measured: the gradient's growth is [`Measurements::log_growth`]. `None` when
    /// that is not known.
    pub fn new(measurements: &Measurements) -> Option<Self> {
        let profile = &measurements.growth;
        let gradient_growth = measurements.log_growth()?;
        let growth = gradient_growth.rate.value;
        // The last point with a usable gradient; those behind it passed nothing back.
        let start = profile.points.iter().rev().find(|point| {
            let usable = |size: f64| size > 0.0 && size.is_finite();
            usable(point.gradient_max_abs) && usable(point.gradient_rms)
        });
        let gradient = start.map(|point| {
            let over = RangeForecast::all(point.gradient_max_abs, growth);
            let under = RangeForecast::all(point.gradient_rms, growth);
            let both = over.into_iter().zip(under);
            both.map(|(over, under)| RangeForecast {
                underflows_at: under.underflows_at,
                ..over
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

/// The activations' log growth a step, from the first point to the last that is still finite.
/// `None` where it cannot go on: a bounded activation does not grow, and by mean-field theory a
/// signal that settles does neither grow nor shrink in the end.
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
    use crate::dynamics::{Activation, Criticality, GradientSize, GrowthProfile};
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

    /// A number format limits values: the norm of many is larger than any of them.
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
        let theory = |sigma_w| Criticality::new(Activation::Selu, sigma_w, 0.0, 1.0, 10).ok();
        assert_eq!(with(Activation::Selu, theory(1.0), 1.1), None);
        assert!(with(Activation::Selu, theory(3.0), 2.0).is_some());
        // What overflows on the way is read as far as it is finite.
        let overflowing = with(Activation::Linear, None, 1e40).unwrap();
        assert!((overflowing - 1e40f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn without_a_profile_the_jacobians_or_the_theory_tell() {
        // The healthy measurements have no spectrum and no theory.
        assert_eq!(forecast(|l| if l == 0 { f64::NAN } else { 1.0 }), None);
        assert_eq!(forecast(|_| 0.0), None);
        let mut measurements = healthy_measurements();
        measurements.growth = GrowthProfile::new(
            Axis::Depth,
            (0..31).map(|l| (format!("l{l}"), 1.0, f64::INFINITY)),
        );
        measurements.criticality = Criticality::new(Activation::Linear, 1.5, 0.0, 1.0, 30).ok();
        let found = GrowthForecast::new(&measurements).unwrap();
        assert_eq!(found.gradient_growth.source, GrowthSource::MeanField);
        assert!((found.gradient_growth.rate.value - 1.5f64.ln()).abs() < 1e-9);
        assert_eq!((found.gradient_max_abs, found.gradient), (None, vec![]));
    }
}
