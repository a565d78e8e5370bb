use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};
use crate::Structure;

/// Builds the model with fewer repeated layers. A study writes it as `model.depth`.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: None,
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    let Remedy::ReduceDepth { depth } = *remedy else {
        return None;
    };
    let structure = Structure {
        depth: Some(depth),
        ..Structure::default()
    };
    Some(Effect {
        structure,
        ..Effect::default()
    })
}
