use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};

/// Replaces the learning rate. A study writes it as `optimizer.learning_rate`.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: None,
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    let Remedy::LowerLearningRate { learning_rate } = *remedy else {
        return None;
    };
    Some(Effect {
        learning_rate: Some(learning_rate),
        ..Effect::default()
    })
}
