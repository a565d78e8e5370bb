use super::{Basis, Derivation, NotApplicable};
use crate::Evidence;
use crate::remedy::Remedy;

/// The cap is the spectral norm the repeated matrices would have at the critical gain.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let measurements = basis.measurements;
    let unsupported = NotApplicable::Unsupported("it has no repeated weight matrix".into());
    let (Some(spectral), Some(gain)) = (
        measurements.repeated_spectral_norm(),
        measurements.repeated_gain(),
    ) else {
        return Err(unsupported);
    };
    let critical = measurements
        .critical_gain()
        .ok_or_else(|| NotApplicable::without_critical_gain(measurements.activation))?;
    let max_spectral_norm = spectral * critical / gain;
    if !(max_spectral_norm.is_finite() && max_spectral_norm > 0.0) {
        return Err(NotApplicable::NotMeasured(
            "a positive, finite spectral norm",
        ));
    }
    Ok((
        Remedy::CapSpectralNorm { max_spectral_norm },
        Derivation {
            formula: "max_spectral_norm = median spectral norm * critical gain / gain: what the \
                      same matrices would have at criticality"
                .into(),
            measured: vec![
                Evidence::new("median spectral norm", spectral),
                Evidence::new("gain at initialisation", gain),
                Evidence::new("critical gain", critical),
            ],
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;
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
    fn the_cap_is_the_critical_spectral_norm() {
        // Twice the critical weights: the cap must undo exactly that.
        let remedy = derived(|measurements| {
            for matrix in &mut measurements.weights {
                matrix.frobenius_norm *= 2.0;
                matrix.spectral_norm *= 2.0;
            }
        });
        let Ok(Remedy::CapSpectralNorm { max_spectral_norm }) = remedy else {
            panic!("{remedy:?}")
        };
        assert!((max_spectral_norm - 2.0 * std::f64::consts::SQRT_2).abs() < 1e-12);
    }

    #[test]
    fn odd_rows() {
        assert!(derived(|measurements| measurements.weights.clear()).is_err());
        assert!(
            derived(|measurements| {
                for matrix in &mut measurements.weights {
                    matrix.spectral_norm = f64::NAN;
                }
            })
            .is_err()
        );
    }
}
