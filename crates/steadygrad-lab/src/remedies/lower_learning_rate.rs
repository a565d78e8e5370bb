use steadygrad::remedy::LowerLearningRate;

use super::effect::{Effect, LabRemedy};
use crate::study::key::StudyForm;

/// Replaces the learning rate. A study writes it as `optimizer.learning_rate`.
impl LabRemedy for LowerLearningRate {
    const STUDY: Option<StudyForm> = None;

    fn effect(&self) -> Effect {
        Effect {
            learning_rate: Some(self.learning_rate),
            ..Effect::default()
        }
    }
}
