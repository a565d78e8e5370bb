use steadygrad::remedy::ScaleResidual;

use super::effect::{Effect, LabRemedy};
use crate::study::key::StudyForm;

/// Changes nothing: the lab measures no `skip_share`, so that this remedy is derived for none of
/// its subjects.
impl LabRemedy for ScaleResidual {
    const STUDY: Option<StudyForm> = None;

    fn effect(&self) -> Effect {
        Effect::default()
    }
}
