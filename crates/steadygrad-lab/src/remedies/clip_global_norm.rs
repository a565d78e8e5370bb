use steadygrad::clip::GlobalNormClip;
use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};
use crate::study::key::{Field, Key, POSITIVE, Scope, StudyForm};

/// Clips the gradients by their global norm, before each step.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: Some(StudyForm {
        kind: "clip_global_norm",
        scope: Scope::Every,
        fields: &[Field {
            name: "max_norm",
            default: None,
            key: Key {
                name: "remedy.max_grad_norm",
                allowed: POSITIVE,
                comment: "clip: bound of the global gradient norm",
            },
        }],
    }),
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    let Remedy::ClipGlobalNorm { max_norm } = *remedy else {
        return None;
    };
    Some(Effect {
        clip: Some(GlobalNormClip::new(max_norm)),
        ..Effect::default()
    })
}
