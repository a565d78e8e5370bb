use super::{Basis, Derivation, NotApplicable};
use crate::Evidence;
use crate::cure::Outcome;
use crate::remedy::Remedy;

/// Healthy steps needed before their norms say anything.
const MIN_HEALTHY_STEPS: usize = 10;
/// One update may move the weights by this share of their norm (the lambda of adaptive gradient
/// clipping: Brock et al., 2021).
const MAX_UPDATE_SHARE: f64 = 0.01;

/// The threshold is the 90th percentile of the healthy part of the gradient-norm trace. A run
/// that is broken from its first steps has no healthy part: then the threshold is the norm whose
/// update is a hundredth of the weights.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let mut healthy: Vec<f64> = basis
        .baseline
        .map_or(&[][..], Outcome::healthy_norms)
        .iter()
        .copied()
        .filter(|norm| norm.is_finite())
        .collect();
    let (max_norm, derivation) = if healthy.len() >= MIN_HEALTHY_STEPS {
        healthy.sort_by(f64::total_cmp);
        let max_norm = healthy[healthy.len() * 9 / 10];
        let derivation = Derivation {
            formula: "max_norm = 90th percentile of the baseline's gradient norms before the \
                      first detection"
                .into(),
            measured: vec![
                Evidence::new("healthy steps", healthy.len() as f64),
                Evidence::new("their median norm", healthy[healthy.len() / 2]),
            ],
        };
        (max_norm, derivation)
    } else {
        let learning_rate = basis.setup.learning_rate;
        let seen = match basis.baseline {
            Some(_) => format!("{} healthy steps were seen", healthy.len()),
            None => "nothing has run yet".into(),
        };
        let derivation = Derivation {
            formula: format!(
                "max_norm = {MAX_UPDATE_SHARE} * weight_norm / learning_rate ({seen})"
            ),
            measured: vec![
                Evidence::new("weight_norm", basis.measurements.weight_norm),
                Evidence::new("learning_rate", learning_rate),
            ],
        };
        (
            MAX_UPDATE_SHARE * basis.measurements.weight_norm / learning_rate,
            derivation,
        )
    };
    if max_norm.is_finite() && max_norm > 0.0 {
        Ok((Remedy::ClipGlobalNorm { max_norm }, derivation))
    } else {
        Err(NotApplicable::NotMeasured("a positive gradient norm"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;

    fn derived(norms: Vec<f64>, weight_norm: f64) -> Result<Remedy, NotApplicable> {
        let (mut measurements, mut baseline) = (healthy_measurements(), healthy_outcome());
        measurements.weight_norm = weight_norm;
        baseline.trace.grad_norm = norms;
        derive(Basis {
            measurements: &measurements,
            setup: &setup(),
            baseline: Some(&baseline),
        })
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn a_long_healthy_trace_gives_its_percentile() {
        let norms = (1..=100).map(f64::from).collect();
        assert_eq!(
            derived(norms, 60.0),
            Ok(Remedy::ClipGlobalNorm { max_norm: 91.0 })
        );
    }

    #[test]
    fn a_run_broken_from_the_start_uses_the_weights() {
        // 0.01 * 60 / 0.1
        let close = |remedy| match remedy {
            Ok(Remedy::ClipGlobalNorm { max_norm }) => (max_norm - 6.0f64).abs() < 1e-12,
            _ => false,
        };
        assert!(close(derived(vec![], 60.0)));
        assert!(close(derived(vec![1e9, f64::NAN], 60.0)));
        assert!(derived(vec![], f64::NAN).is_err());
        assert!(derived(vec![0.0; 50], 60.0).is_err());
    }
}
