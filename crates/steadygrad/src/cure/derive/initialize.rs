use super::{Basis, Derivation, NotApplicable};
use crate::diagnose::Evidence;
use crate::remedy::Remedy;

/// The weight scale is the activation's critical gain; the first matrix is divided by the
/// input's measured size as well.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let measurements = basis.measurements;
    let measured = measurements
        .repeated_gain()
        .ok_or(NotApplicable::Unsupported(
            "it has no repeated weight matrix".into(),
        ))?;
    if !(measured.is_finite() && measured > 0.0) {
        return Err(NotApplicable::NotMeasured(
            "a positive, finite weight scale",
        ));
    }
    let input_rms = measurements.input_rms;
    if !(input_rms.is_finite() && input_rms > 0.0) {
        return Err(NotApplicable::NotMeasured("a positive, finite input size"));
    }
    let gain = measurements
        .critical_gain()
        .ok_or_else(|| NotApplicable::without_critical_gain(measurements.activation))?;
    if !(gain.is_finite() && gain > 0.0) {
        return Err(NotApplicable::NotMeasured(
            "a positive, finite critical gain",
        ));
    }
    Ok((
        Remedy::CriticalInit { gain, input_rms },
        Derivation {
            formula: format!(
                "gain = critical gain of {} = {gain:.4}, where chi_1 = 1; the first matrix is \
                 divided by the input's root mean square",
                measurements.activation.name()
            ),
            measured: vec![
                Evidence::new("gain at initialisation", measured),
                Evidence::new("input root mean square", input_rms),
            ],
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;
    use crate::dynamics::{Activation, Criticality};
    use crate::measurements::Measurements;

    fn derived(change: impl FnOnce(&mut Measurements)) -> Result<Remedy, NotApplicable> {
        let mut measurements = healthy_measurements();
        change(&mut measurements);
        let (setup, baseline) = (setup(), healthy_outcome());
        derive(Basis {
            measurements: &measurements,
            setup: &setup,
            baseline: Some(&baseline),
        })
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn gain_and_input_size() {
        let remedy = derived(|measurements| measurements.input_rms = 7.5);
        let gain = Activation::Relu.critical_gain().unwrap();
        assert_eq!(
            remedy,
            Ok(Remedy::CriticalInit {
                gain,
                input_rms: 7.5
            })
        );
    }

    #[test]
    fn odd_rows() {
        for input_rms in [0.0, f64::NAN, f64::INFINITY] {
            assert!(derived(|measurements| measurements.input_rms = input_rms).is_err());
        }
        assert!(derived(|measurements| measurements.weights.clear()).is_err());
        for norm in [0.0, f64::NAN, f64::INFINITY] {
            assert!(
                derived(|measurements| {
                    for matrix in &mut measurements.weights {
                        matrix.frobenius_norm = norm;
                    }
                })
                .is_err()
            );
        }
        // Measured biases do not make a critical gain where there is none.
        for criticality in [
            None,
            Criticality::new(Activation::Gelu, 3.0, 0.0, 1.0, 20).ok(),
        ] {
            let refused = derived(|measurements| {
                measurements.activation = Activation::Gelu;
                measurements.criticality = criticality;
            });
            assert!(
                matches!(refused, Err(NotApplicable::Unsupported(_))),
                "{refused:?}"
            );
        }
    }
}
