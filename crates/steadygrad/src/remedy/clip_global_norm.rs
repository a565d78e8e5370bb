use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::log_uniform;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::short::Short;
use crate::Evidence;
use crate::measurements::TrainingSetup;
use crate::outcome::Outcome;

/// The number of healthy steps below which their norms say nothing.
const MIN_HEALTHY_STEPS: usize = 10;
/// One update may move the weights by this share of their norm (the lambda of adaptive gradient
/// clipping: Brock et al., 2021).
const MAX_UPDATE_SHARE: f64 = 0.01;

/// Clips by the global norm. See [`crate::clip::GlobalNormClip`].
///
/// The threshold is the 90th percentile of the gradient norms before the first detection. A run
/// that is broken from its first steps has no healthy part: then the threshold is the norm whose
/// update is a hundredth of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClipGlobalNorm {
    /// Largest global norm that passes.
    pub max_norm: f64,
}

impl std::fmt::Display for ClipGlobalNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "clip the global norm at {}", Short(self.max_norm))
    }
}

impl Definition for ClipGlobalNorm {
    const FAMILY: Family = Family::Clip;
    const PARAMETERS: &'static [Parameter] =
        &[Parameter::new("max_norm", "MAX_NORM", Range::Positive)];
    const BURN: &'static str = include_str!("snippets/clip_global_norm.rs");
    const PYTORCH: &'static str = include_str!("snippets/clip_global_norm.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
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
            Ok((Self { max_norm }, derivation))
        } else {
            Err(NotApplicable::NotMeasured("a positive gradient norm"))
        }
    }

    fn draw(uniform: f64, _setup: &TrainingSetup) -> Option<Self> {
        Some(Self {
            max_norm: log_uniform(1e-3, 1e3, uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.max_norm.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};

    fn derived(norms: Vec<f64>, weight_norm: f64) -> Result<ClipGlobalNorm, NotApplicable> {
        let (mut measurements, mut baseline) = (healthy_measurements(), healthy_outcome());
        measurements.weight_norm = weight_norm;
        baseline.trace.grad_norm = norms;
        ClipGlobalNorm::derive(Basis::new(&measurements, &setup()).with_baseline(&baseline))
            .map(|(remedy, _)| remedy)
    }

    #[test]
    fn a_long_healthy_trace_gives_its_percentile() {
        let norms = (1..=100).map(f64::from).collect();
        assert_eq!(derived(norms, 60.0), Ok(ClipGlobalNorm { max_norm: 91.0 }));
    }

    #[test]
    fn a_run_broken_from_the_start_uses_the_weights() {
        // 0.01 * 60 / 0.1
        let close = |remedy| match remedy {
            Ok(ClipGlobalNorm { max_norm }) => (max_norm - 6.0f64).abs() < 1e-12,
            _ => false,
        };
        assert!(close(derived(vec![], 60.0)));
        assert!(close(derived(vec![1e9, f64::NAN], 60.0)));
        assert!(derived(vec![], f64::NAN).is_err());
        assert!(derived(vec![0.0; 50], 60.0).is_err());
    }
}
