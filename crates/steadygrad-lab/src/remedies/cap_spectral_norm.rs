use steadygrad::measurements::WeightMatrix;
use steadygrad::remedy::CapSpectralNorm;
use steadygrad_burn::SpectralCap;

use super::effect::{AfterUpdate, Effect, LabRemedy};
use crate::Summary;
use crate::study::key::{Field, Key, POSITIVE, Scope, StudyForm};

/// Caps the spectral norm of each repeated matrix, at the start and after each step.
impl LabRemedy for CapSpectralNorm {
    const STUDY: Option<StudyForm> = Some(StudyForm {
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
    });

    fn effect(&self) -> Effect {
        let Self { max_spectral_norm } = *self;
        let cap = move |_: &Summary, matrices: &[WeightMatrix]| -> Box<dyn AfterUpdate> {
            let repeated = matrices.iter().filter(|matrix| matrix.role.is_repeated());
            let names = repeated.map(|matrix| matrix.name.clone());
            Box::new(SpectralCap::new(max_spectral_norm, names))
        };
        Effect {
            after_update: Some(Box::new(cap)),
            ..Effect::default()
        }
    }
}

impl AfterUpdate for SpectralCap {
    fn change(
        &mut self,
        parameter: &str,
        shape: &[usize],
        values: &mut [f32],
        _learning_rate: f64,
    ) -> bool {
        self.cap(parameter, shape, values)
    }

    fn boxed_clone(&self) -> Box<dyn AfterUpdate> {
        Box::new(self.clone())
    }
}
