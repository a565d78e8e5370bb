use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::log_uniform;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::short::Short;
use crate::Evidence;
use crate::measurements::TrainingSetup;

/// Scales every repeated weight matrix down to this spectral norm, before the first step and after
/// each update: `W <- W min(1, max_spectral_norm / |W|_2)`.
///
/// The cap is the spectral norm that the repeated matrices would have at the critical gain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CapSpectralNorm {
    /// Largest singular value that passes.
    pub max_spectral_norm: f64,
}

impl std::fmt::Display for CapSpectralNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cap spectral norms at {}", Short(self.max_spectral_norm))
    }
}

impl Definition for CapSpectralNorm {
    const FAMILY: Family = Family::Regularize;
    const ASSUMES_PLAIN_LAYERS: bool = true;
    const PARAMETERS: &'static [Parameter] = &[Parameter::new(
        "max_spectral_norm",
        "MAX_SPECTRAL_NORM",
        Range::Positive,
    )];
    const BURN: &'static str = include_str!("snippets/cap_spectral_norm.rs");
    const PYTORCH: &'static str = include_str!("snippets/cap_spectral_norm.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
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
            Self { max_spectral_norm },
            Derivation {
                formula:
                    "max_spectral_norm = median spectral norm * critical gain / gain: what the \
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

    fn draw(uniform: f64, _setup: &TrainingSetup) -> Option<Self> {
        Some(Self {
            max_spectral_norm: log_uniform(0.1, 10.0, uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.max_spectral_norm.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};
    use crate::measurements::Measurements;

    fn derived(change: impl FnOnce(&mut Measurements)) -> Result<CapSpectralNorm, NotApplicable> {
        let mut measurements = healthy_measurements();
        change(&mut measurements);
        let (setup, baseline) = (setup(), healthy_outcome());
        CapSpectralNorm::derive(Basis::new(&measurements, &setup).with_baseline(&baseline))
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
        let Ok(CapSpectralNorm { max_spectral_norm }) = remedy else {
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
