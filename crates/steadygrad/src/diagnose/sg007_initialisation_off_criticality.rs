//! SG007: the initial weights are too large for this activation and depth.

use super::{Case, Evidence, Finding};
use crate::Place;
use crate::dynamics::{Axis, MeanField};

/// How far the product of the growth that mean-field theory predicts may be from 1: the tenfold
/// ratio across layers of SageMaker Debugger's PoorWeightInitialization rule.
const MAX_PRODUCT: f64 = 10.0;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let measurements = case.measurements;
    let gain = measurements.repeated_gain()?;
    if gain.is_nan() {
        return None;
    }
    let (critical, chi_1, bound) = match measurements.criticality {
        Some(measured) => (measured.critical_sigma_w, measured.chi_1, ""),
        None => {
            // Beyond this gain nothing is left to tell apart, and the theory takes finite numbers.
            let network = MeanField::new(measurements.activation, gain.min(1e75), 0.0).ok()?;
            let critical = measurements.activation.critical_point().sigma_w();
            match measurements.growth.axis {
                Axis::Depth => (critical, network.chi_1_at_fixed_point(), ""),
                // A state starts small, and where it stays so nothing is damped: an upper bound.
                Axis::Time => (critical, network.chi_1(0.0), "up to "),
            }
        }
    };
    let growth = chi_1.sqrt();
    let steps = measurements.growth.points.len().saturating_sub(1);
    let product = growth.powf(steps as f64);
    if product.is_nan() || product <= MAX_PRODUCT {
        return None;
    }
    let repeated = measurements
        .weights
        .iter()
        .find(|matrix| matrix.role.is_repeated())?;
    let std = gain / (repeated.fan_in as f64).sqrt();
    let critical_std = critical / (repeated.fan_in as f64).sqrt();
    let unit = measurements.growth.axis.unit();
    Some(Finding {
        code: "SG007".into(),
        title: format!(
            "initial weights have gain {gain:.2}, {} is critical at {critical:.2}: {bound}\
             x{product:.1e} over {steps} {unit}s",
            measurements.activation.name()
        ),
        place: Place::Parameter(repeated.name.clone()),
        step: None,
        evidence: vec![
            Evidence::new("gain (std * sqrt(fan_in))", gain),
            Evidence::new("critical gain", critical),
            Evidence::new("standard deviation", std),
            Evidence::new("critical standard deviation", critical_std),
        ],
        why: format!(
            "A {unit} multiplies gradients by {bound}sqrt(chi_1) = {growth:.2} on average at this \
             gain; a fixed standard deviation that suits one width is wrong for another."
        ),
        help: format!(
            "Draw weights with standard deviation {critical:.3} / sqrt(fan_in) = {critical_std:.4} \
             in place of {std:.4}."
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
    use crate::dynamics::Activation;

    /// Its own authors' initialisation is above the critical gain and grows by 3.5 % a layer:
    /// the gain alone would have said 45 %.
    #[test]
    fn is_silent_about_selu_with_unit_gain() {
        let selu = |gain: f64| {
            verdict(check, |measurements, _, _| {
                measurements.activation = Activation::Selu;
                for matrix in &mut measurements.weights {
                    matrix.frobenius_norm = gain * (matrix.fan_out as f64).sqrt();
                }
            })
        };
        assert_eq!(selu(1.0), None);
        assert!(selu(2.0).is_some());
    }

    /// GELU has no critical gain, only one where it jumps; growth is found all the same.
    #[test]
    fn fires_without_a_critical_gain() {
        let finding = verdict(check, |measurements, _, _| {
            measurements.activation = Activation::Gelu;
            for matrix in &mut measurements.weights {
                matrix.frobenius_norm = f64::INFINITY;
            }
        });
        assert!((finding.unwrap().evidence[1].value - 1.5335).abs() < 1e-4);
    }

    #[test]
    fn fires_when_the_gain_is_too_large_for_the_depth() {
        let with = |factor: f64| {
            verdict(check, |measurements, _, _| {
                for matrix in &mut measurements.weights {
                    matrix.frobenius_norm *= factor;
                }
            })
        };
        assert_eq!(with(1.0), None);
        assert_eq!(with(0.5), None, "too small vanishes; it does not explode");
        assert_eq!(with(f64::NAN), None);
        let finding = with(1.5).unwrap();
        assert!((finding.evidence[0].value / finding.evidence[1].value - 1.5).abs() < 1e-9);
        assert_eq!(
            verdict(check, |measurements, _, _| measurements.weights.clear()),
            None
        );
    }
}
