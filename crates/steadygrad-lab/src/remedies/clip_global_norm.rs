use steadygrad::clip::GlobalNormClip;
use steadygrad::remedy::ClipGlobalNorm;

use super::effect::{Effect, LabRemedy};
use crate::study::key::{Field, Key, POSITIVE, Scope, StudyForm};

/// Clips the gradients by their global norm, before each step.
impl LabRemedy for ClipGlobalNorm {
    const STUDY: Option<StudyForm> = Some(StudyForm {
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
    });

    fn effect(&self) -> Effect {
        Effect {
            clip: Some(GlobalNormClip::new(self.max_norm)),
            ..Effect::default()
        }
    }
}
