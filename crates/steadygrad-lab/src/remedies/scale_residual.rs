use steadygrad::remedy::Remedy;

use super::effect::{Effect, LabRemedy};

/// Changes nothing: the lab measures no `skip_share`, so that this remedy is derived for none of
/// its subjects.
pub(super) const REMEDY: LabRemedy = LabRemedy {
    effect,
    study: None,
};

fn effect(remedy: &Remedy) -> Option<Effect> {
    matches!(remedy, Remedy::ScaleResidual { .. }).then(Effect::default)
}
