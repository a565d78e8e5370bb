use steadygrad::remedy::ReduceDepth;

use super::effect::{Effect, LabRemedy};
use crate::Structure;
use crate::study::key::StudyForm;

/// Builds the model with fewer repeated layers. A study writes it as `model.depth`.
impl LabRemedy for ReduceDepth {
    const STUDY: Option<StudyForm> = None;

    fn effect(&self) -> Effect {
        let structure = Structure {
            depth: Some(self.depth),
            ..Structure::default()
        };
        Effect {
            structure,
            ..Effect::default()
        }
    }
}
