//! SG007: the initial weights are too large for this activation and depth.

use super::{Case, Evidence, Finding};
use crate::Place;
use crate::dynamics::Axis;

/// How far the product `(gain / critical gain)^steps` may be from 1: the tenfold ratio across
/// layers of SageMaker Debugger's PoorWeightInitialization rule.
const MAX_PRODUCT: f64 = 10.0;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let measurements = case.measurements;
    let gain = measurements.repeated_gain()?;
    let critical = measurements.activation.critical_gain();
    let steps = measurements.growth.points.len().saturating_sub(1);
    let product = (gain / critical).powf(steps as f64);
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
    let bound = match measurements.growth.axis {
        Axis::Depth => "",
        // A saturated tanh damps, so through time the product is an upper bound.
        Axis::Time => "up to ",
    };
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
            "A {unit} multiplies signals and gradients by gain / critical gain on average; a \
             fixed standard deviation that suits one width is wrong for another."
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
