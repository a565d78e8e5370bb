use steadygrad::remedy::RmsNorm;

use super::effect::{Effect, LabRemedy};
use crate::Structure;
use crate::study::key::{Allowed, Field, Key, Scope, StudyForm};

/// Normalises every n-th repeated layer.
impl LabRemedy for RmsNorm {
    const STUDY: Option<StudyForm> = Some(StudyForm {
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
    });

    fn effect(&self) -> Effect {
        let structure = Structure {
            rms_norm_every: Some(self.every),
            ..Structure::default()
        };
        Effect {
            structure,
            ..Effect::default()
        }
    }
}
