use std::collections::HashMap;

use steadygrad::measurements::{MatrixRole, WeightMatrix};
use steadygrad::remedy::CriticalInit;

use super::effect::{Effect, LabRemedy};
use crate::Summary;
use crate::study::key::{Field, Key, POSITIVE, Scope, StudyForm};

/// Rescales the initial weights to the critical gain.
impl LabRemedy for CriticalInit {
    const STUDY: Option<StudyForm> = Some(StudyForm {
        kind: "critical_init",
        scope: Scope::Matrices,
        fields: &[
            Field {
                name: "gain",
                default: None,
                key: Key {
                    name: "remedy.init_gain",
                    allowed: POSITIVE,
                    comment: "initialize: std * sqrt(fan_in) of the repeated matrices",
                },
            },
            Field {
                name: "input_rms",
                default: Some(1.0),
                key: Key {
                    name: "remedy.init_input_rms",
                    allowed: POSITIVE,
                    comment: "initialize: the first matrix is divided by this",
                },
            },
        ],
    });

    fn effect(&self) -> Effect {
        let Self { gain, input_rms } = *self;
        let factors = move |summary: &Summary, matrices: &[WeightMatrix]| {
            factors(gain, input_rms, summary, matrices)
        };
        Effect {
            weight_factors: Some(Box::new(factors)),
            ..Effect::default()
        }
    }
}

/// A recurrent network's input and output matrices stay as they are, as does a matrix of zeros.
fn factors(
    gain: f64,
    input_rms: f64,
    summary: &Summary,
    matrices: &[WeightMatrix],
) -> HashMap<String, f64> {
    let recurrent = summary.sequence_length.is_some();
    matrices
        .iter()
        .filter_map(|matrix| {
            let wanted = match matrix.role {
                MatrixRole::Hidden | MatrixRole::Recurrent => gain,
                MatrixRole::Input if !recurrent => gain / input_rms,
                MatrixRole::Output if !recurrent => 1.0,
                MatrixRole::Input | MatrixRole::Output => return None,
            };
            let factor = wanted / matrix.gain();
            factor.is_finite().then(|| (matrix.name.clone(), factor))
        })
        .collect()
}
