use super::{Basis, Derivation, NotApplicable};
use crate::Evidence;
use crate::remedy::Remedy;

/// Half of the largest learning rate that is stable at the measured sharpness:
/// `(1 + momentum) / lambda_max`.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let sharpness = basis
        .measurements
        .sharpness
        .filter(|sharpness| sharpness.lambda_max.is_finite() && sharpness.lambda_max > 0.0)
        .ok_or(NotApplicable::NotMeasured("the sharpness"))?;
    let setup = basis.setup;
    let learning_rate = (1.0 + setup.momentum) / sharpness.lambda_max;
    if learning_rate >= setup.learning_rate {
        return Err(NotApplicable::NothingToMend(format!(
            "learning rate {} is below half of the stability limit, {learning_rate:.3e}",
            setup.learning_rate
        )));
    }
    Ok((
        Remedy::LowerLearningRate { learning_rate },
        Derivation {
            formula: "learning_rate = (1 + momentum) / lambda_max: half of the stability limit"
                .into(),
            measured: vec![
                Evidence::new("lambda_max (sharpness)", sharpness.lambda_max),
                Evidence::new("its relative error bound", sharpness.relative_error()),
                Evidence::new("learning rate now", setup.learning_rate),
            ],
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;

    fn derived(lambda_max: Option<f64>) -> Result<Remedy, NotApplicable> {
        let mut measurements = healthy_measurements();
        measurements.sharpness = lambda_max.and_then(|lambda_max| {
            Some(crate::measurements::Sharpness {
                lambda_max,
                ..measurements.sharpness?
            })
        });
        derive(Basis {
            measurements: &measurements,
            setup: &setup(),
            baseline: Some(&healthy_outcome()),
        })
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn half_of_the_limit() {
        assert_eq!(
            derived(Some(1e4)),
            Ok(Remedy::LowerLearningRate {
                learning_rate: 1e-4
            })
        );
        assert!(matches!(
            derived(Some(1.0)),
            Err(NotApplicable::NothingToMend(_))
        ));
        for odd in [None, Some(f64::NAN), Some(f64::INFINITY), Some(0.0)] {
            assert!(
                matches!(derived(odd), Err(NotApplicable::NotMeasured(_))),
                "{odd:?}"
            );
        }
    }
}
