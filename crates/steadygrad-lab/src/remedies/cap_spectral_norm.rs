use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};
use crate::study::key::{Field, Key, POSITIVE, Scope, StudyForm};

/// Caps the spectral norm of each repeated matrix, at the start and after each step.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: Some(StudyForm {
        kind: "cap_spectral_norm",
        scope: Scope::Matrices,
        fields: &[Field {
            name: "max_spectral_norm",
            default: None,
            key: Key {
                name: "remedy.max_spectral_norm",
                allowed: POSITIVE,
                comment: "regularize: bound of each repeated matrix's spectral norm",
            },
        }],
    }),
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    let Remedy::CapSpectralNorm { max_spectral_norm } = *remedy else {
        return None;
    };
    Some(Effect {
        max_spectral_norm: Some(max_spectral_norm),
        ..Effect::default()
    })
}
