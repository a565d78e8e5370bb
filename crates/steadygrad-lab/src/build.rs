use std::sync::Mutex;

use burn::module::Module;
use burn::tensor::Device;
use steadygrad::clip::GlobalNormClip;
use steadygrad::remedy::Remedy;
use steadygrad_burn::{for_each_parameter, map_parameters, scale_weights};

use crate::random::{Purpose, generator};
use crate::remedies::effect::AfterUpdate;
use crate::remedies::{effect_of, structure_of};
use crate::weight_matrices::weight_matrices;
use crate::{Plan, Structure, Subject};

/// Burn has one random generator for the whole process: models are built one at a time.
static BUILDING: Mutex<()> = Mutex::new(());

/// The effects of remedies that act at each step of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepEffects {
    /// Clips the gradients before the step.
    pub(crate) clip: Option<GlobalNormClip>,
    /// Change the weights after the update, by the names of their remedies.
    after_update: Vec<(&'static str, Box<dyn AfterUpdate>)>,
    learning_rate: Option<f64>,
}

impl StepEffects {
    /// The learning rate that the plan's schedule scales.
    pub(crate) fn learning_rate(&self, plan: &Plan) -> f64 {
        self.learning_rate.unwrap_or(plan.learning_rate)
    }

    /// Whether weights change in another way than by the optimizer.
    pub(crate) fn changes_weights(&self) -> bool {
        !self.after_update.is_empty()
    }

    /// Changes the weights of a model that was updated with this learning rate.
    pub(crate) fn after_update<M: Module>(&mut self, mut model: M, learning_rate: f64) -> M {
        for (_, effect) in &mut self.after_update {
            model = change_weights(effect.as_mut(), model, learning_rate);
        }
        model
    }
}

fn change_weights<M: Module>(effect: &mut dyn AfterUpdate, model: M, learning_rate: f64) -> M {
    map_parameters(model, |parameter, shape, values| {
        effect.change(parameter, shape, values, learning_rate)
    })
}

/// Builds the untrained model with these remedies in it.
pub(crate) fn build<S: Subject>(
    subject: &S,
    plan: &Plan,
    remedies: &[Remedy],
    device: &Device,
) -> (S::Model, StepEffects) {
    let structure = structure_of(remedies);
    let mut model = untreated_weights(subject, plan, &structure, device);
    let mut at_steps = StepEffects::default();
    for remedy in remedies {
        let effect = effect_of(remedy);
        if let Some(factors) = effect.weight_factors {
            let matrices = weight_matrices(subject, &model);
            model = scale_weights(model, &factors(&subject.summary(), &matrices));
        }
        if let Some(after_update) = effect.after_update {
            let matrices = weight_matrices(subject, &model);
            let mut after_update = after_update(&subject.summary(), &matrices);
            model = change_weights(after_update.as_mut(), model, 0.0);
            // The last of one kind decides.
            let all = &mut at_steps.after_update;
            all.retain(|(name, _)| *name != remedy.name());
            all.push((remedy.name(), after_update));
        }
        at_steps.clip = effect.clip.or(at_steps.clip);
        at_steps.learning_rate = effect.learning_rate.or(at_steps.learning_rate);
    }
    (model, at_steps)
}

fn untreated_weights<S: Subject>(
    subject: &S,
    plan: &Plan,
    structure: &Structure,
    device: &Device,
) -> S::Model {
    // The lock guards no data: a panic in another build leaves nothing half-done.
    let _one_at_a_time = BUILDING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    device.seed(plan.seed);
    let mut rng = generator(plan.seed, Purpose::Weights);
    let model = subject.build(structure, &mut rng, device);
    // Burn draws weights when they are first read: read them now, in order.
    for_each_parameter(&model, |_, _| ());
    model
}
