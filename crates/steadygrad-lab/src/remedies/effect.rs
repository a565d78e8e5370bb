use std::collections::HashMap;

use steadygrad::clip::GlobalNormClip;
use steadygrad::measurements::WeightMatrix;
use steadygrad::remedy::Remedy;

use crate::study::key::StudyForm;
use crate::{Structure, Summary};

/// One remedy as the lab knows it.
pub(crate) struct LabRemedy {
    /// What it changes in a run; `None` for another remedy.
    pub(crate) effect: fn(&Remedy) -> Option<Effect>,
    /// Its keys in a study; `None` if it changes a key of the model or of the optimizer, or has no
    /// key.
    pub(crate) study: Option<StudyForm>,
}

/// What a remedy changes in a run. The default changes nothing.
#[derive(Default)]
pub(crate) struct Effect {
    /// What it changes in the model's structure.
    pub(crate) structure: Structure,
    /// Rescales the initial weights.
    pub(crate) weight_factors: Option<WeightFactors>,
    /// Bound of each repeated matrix's spectral norm: at the start and after each step.
    pub(crate) max_spectral_norm: Option<f64>,
    /// Clips the gradients before each step.
    pub(crate) clip: Option<GlobalNormClip>,
    /// Replaces the plan's learning rate.
    pub(crate) learning_rate: Option<f64>,
}

/// From a subject and its weight matrices to the factors of these matrices, by name. A matrix
/// without a factor stays as it is.
pub(crate) type WeightFactors = Box<dyn Fn(&Summary, &[WeightMatrix]) -> HashMap<String, f64>>;
