use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};
use crate::Structure;
use crate::study::key::{Allowed, Field, Key, Scope, StudyForm};

/// Normalises every n-th repeated layer.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: Some(StudyForm {
        kind: "rms_norm",
        scope: Scope::Matrices,
        fields: &[Field {
            name: "every",
            default: None,
            key: Key {
                name: "remedy.rms_norm_every",
                allowed: Allowed::Integer(1..=10_000),
                comment: "normalize: RMSNorm in every n-th layer",
            },
        }],
    }),
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    let Remedy::RmsNorm { every } = *remedy else {
        return None;
    };
    let structure = Structure {
        rms_norm_every: Some(every),
        ..Structure::default()
    };
    Some(Effect {
        structure,
        ..Effect::default()
    })
}
