use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};
use crate::Structure;
use crate::study::key::{Allowed, Field, Key, Scope, StudyForm};

/// Stops the backward pass through time after a number of steps.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: Some(StudyForm {
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
    }),
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    let Remedy::TruncateBptt { time_steps } = *remedy else {
        return None;
    };
    let structure = Structure {
        bptt_steps: Some(time_steps),
        ..Structure::default()
    };
    Some(Effect {
        structure,
        ..Effect::default()
    })
}
