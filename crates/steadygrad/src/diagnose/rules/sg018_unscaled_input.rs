//! SG018: the data reach the network unscaled.

use crate::diagnose::{
    Example, Finding, GradientEffect, MeasuredExample, ModelCase, Needs, RemedyFamilies, Rule,
};
use crate::remedy::Family;
use crate::{Evidence, Place};

/// Standardised features have root mean square 1, features in 0..1 about 0.5; three is beyond any
/// usual scaling.
const MAX_RMS: f64 = 3.0;

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let measurements = case.measurements;
    let rms = measurements.input_rms;
    let matrix = measurements.weights.first()?;
    // A first matrix that is smaller by the factor that the input is larger scales the input
    // itself; a computed initialisation makes such a matrix.
    let critical = measurements.critical_gain().unwrap_or(1.0);
    let compensated = match matrix.gain() / critical {
        share if share < 1.0 => rms * share,
        _ => rms,
    };
    if rms.is_nan() || compensated <= MAX_RMS {
        return None;
    }
    Some(Finding {
        code: RULE.code.into(),
        title: format!("the input is unscaled: root mean square {rms:.2}, where 1 is expected"),
        place: Place::Parameter(matrix.name.clone()),
        step: None,
        evidence: vec![Evidence::new("input root mean square", rms)],
        why: RULE.why.into(),
        help: format!("Divide the input by {rms:.2}, or standardise each feature."),
        ..Finding::default()
    })
}

pub(super) const RULE: Rule = Rule {
    code: "SG018",
    name: "unscaled-input",
    what: "The data reach the network unscaled.",
    why: "Every initialisation rule assumes inputs of size 1. A larger input enlarges all \
          activations, the first layer's gradient and, by its square, the curvature.",
    evidence: "Before training, the root mean square of the first batch and the first weight \
               matrix (`steadygrad probe`).",
    needs: Needs::ANY,
    blind: "Logs; single features out of scale among many that are not.",
    remedy: "Divide the input by its root mean square, or standardise each feature.",
    fix_safety: "A trained model expects its inputs as they were: train from the start.",
    references: &["LeCun et al., 1998: Efficient BackProp"],
    example: Example::Measured {
        fires: MeasuredExample {
            text: "the input has root mean square 7.7 and the first matrix the usual scale",
            change: |model| model.input_rms = 7.7,
        },
        silent: MeasuredExample {
            text: "the first matrix is smaller by as much, or the root mean square is 1",
            change: |model| {
                model.input_rms = 7.7;
                model.weights[0].frobenius_norm /= 7.7;
            },
        },
    },
    families: RemedyFamilies::same(&[Family::Initialize, Family::Normalize]),
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: Some(check),
    of_run: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;

    #[test]
    fn fires_on_large_inputs_only() {
        for quiet in [0.0, 0.5, 1.0, 3.0, f64::NAN] {
            assert_eq!(
                verdict(check, |measurements, _, _| measurements.input_rms = quiet),
                None
            );
        }
        let finding = verdict(check, |measurements, _, _| measurements.input_rms = 7.7).unwrap();
        assert_eq!(finding.evidence[0].value, 7.7);
        // The first matrix compensates for the input.
        let scaled = verdict(check, |measurements, _, _| {
            measurements.input_rms = 7.7;
            measurements.weights[0].frobenius_norm /= 7.7;
        });
        assert_eq!(scaled, None);
    }
}
