use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::log_uniform;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::short::Short;
use crate::Evidence;
use crate::measurements::TrainingSetup;

/// Rescales the initial weights: every repeated matrix to `gain`, the output matrix to gain 1 and
/// the input matrix to `gain / input_rms`, where a matrix's gain is `std * sqrt(fan_in)`. It leaves
/// a recurrent network's input and output matrices as they are.
///
/// The gain is the activation's critical one. A residual network has none: its branches are scaled
/// instead ([`ScaleResidual`](super::ScaleResidual)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CriticalInit {
    /// The gain of the repeated matrices.
    pub gain: f64,
    /// The input's root mean square, which the first matrix is divided by.
    pub input_rms: f64,
}

impl std::fmt::Display for CriticalInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (gain, input_rms) = (Short(self.gain), Short(self.input_rms));
        write!(f, "start at gain {gain}, input / {input_rms}")
    }
}

impl Definition for CriticalInit {
    const FAMILY: Family = Family::Initialize;
    const ASSUMES_PLAIN_LAYERS: bool = true;
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("gain", "GAIN", Range::Positive),
        Parameter::new("input_rms", "INPUT_RMS", Range::Positive),
    ];
    const BURN: &'static str = include_str!("snippets/critical_init.rs");
    const PYTORCH: &'static str = include_str!("snippets/critical_init.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        if basis.residual_share().is_some() {
            return Err(NotApplicable::AnotherModel("networks of plain layers"));
        }
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
            Self { gain, input_rms },
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

    fn draw(uniform: f64, _setup: &TrainingSetup) -> Option<Self> {
        Some(Self {
            gain: log_uniform(0.1, 10.0, uniform),
            input_rms: 1.0,
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.gain.into(), self.input_rms.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};
    use crate::dynamics::{Activation, Criticality, MeanField};
    use crate::measurements::Measurements;

    fn derived(change: impl FnOnce(&mut Measurements)) -> Result<CriticalInit, NotApplicable> {
        let mut measurements = healthy_measurements();
        change(&mut measurements);
        let (setup, baseline) = (setup(), healthy_outcome());
        CriticalInit::derive(Basis::new(&measurements, &setup).with_baseline(&baseline))
            .map(|(remedy, _)| remedy)
    }

    #[test]
    fn gain_and_input_size() {
        let remedy = derived(|measurements| measurements.input_rms = 7.5);
        let gain = Activation::Relu.critical_gain().unwrap();
        assert_eq!(
            remedy,
            Ok(CriticalInit {
                gain,
                input_rms: 7.5
            })
        );
    }

    #[test]
    fn a_residual_network_has_no_critical_gain() {
        for (skip_share, residual) in [(0.1, false), (f64::NAN, false), (0.25, true), (1.0, true)] {
            let given = derived(|measurements| measurements.skip_share = Some(skip_share));
            let refused = matches!(given, Err(NotApplicable::AnotherModel(_)));
            assert_eq!(refused, residual, "{skip_share}: {given:?}");
            assert_eq!(given.is_ok(), !residual);
        }
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
        let network = MeanField::new(Activation::Gelu, 3.0, 0.0).unwrap();
        for criticality in [None, Criticality::new(network, 1.0, 20).ok()] {
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
