use steadygrad::remedy::TruncateBptt;

use super::effect::{Effect, LabRemedy};
use crate::Structure;
use crate::study::key::{Allowed, Field, Key, Scope, StudyForm};

/// Stops the backward pass through time after a number of steps.
impl LabRemedy for TruncateBptt {
    const STUDY: Option<StudyForm> = Some(StudyForm {
        kind: "truncate_bptt",
        scope: Scope::TimeSteps,
        fields: &[Field {
            name: "time_steps",
            default: None,
            key: Key {
                name: "remedy.bptt_steps",
                allowed: Allowed::Integer(1..=100_000),
                comment: "simplify: time steps the gradient flows back",
            },
        }],
    });

    fn effect(&self) -> Effect {
        let structure = Structure {
            bptt_steps: Some(self.time_steps),
            ..Structure::default()
        };
        Effect {
            structure,
            ..Effect::default()
        }
    }
}
