use std::collections::HashMap;

use steadygrad::clip::GlobalNormClip;
use steadygrad::measurements::WeightMatrix;

use crate::study::key::StudyForm;
use crate::{Structure, Summary};

/// A remedy as the lab applies it.
pub(crate) trait LabRemedy {
    /// Its keys in a study; `None` if it changes a key of the model or of the optimizer, or has no
    /// key.
    const STUDY: Option<StudyForm>;

    /// What it changes in a run.
    fn effect(&self) -> Effect;
}

/// What a remedy changes in a run. The default changes nothing.
#[derive(Default)]
pub(crate) struct Effect {
    /// What it changes in the model's structure.
    pub(crate) structure: Structure,
    /// Rescales the initial weights.
    pub(crate) weight_factors: Option<FromMatrices<HashMap<String, f64>>>,
    /// Changes the weights after each update.
    pub(crate) after_update: Option<FromMatrices<Box<dyn AfterUpdate>>>,
    /// Clips the gradients before each step.
    pub(crate) clip: Option<GlobalNormClip>,
    /// Replaces the plan's learning rate.
    pub(crate) learning_rate: Option<f64>,
}

/// What follows from a subject and its weight matrices.
pub(crate) type FromMatrices<T> = Box<dyn Fn(&Summary, &[WeightMatrix]) -> T>;

/// Changes the weights after each update, and once before the first, with a learning rate of 0.
pub(crate) trait AfterUpdate: std::fmt::Debug + Send + Sync {
    /// Changes a parameter's values after an update with this learning rate. Returns whether they
    /// changed.
    fn change(
        &mut self,
        parameter: &str,
        shape: &[usize],
        values: &mut [f32],
        learning_rate: f64,
    ) -> bool;

    /// A copy that goes on from the same state.
    fn boxed_clone(&self) -> Box<dyn AfterUpdate>;
}

impl Clone for Box<dyn AfterUpdate> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}
