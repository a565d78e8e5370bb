use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use steadygrad::clip::Policy;
use steadygrad::dynamics::{
    Butterfly, ButterflyError, ButterflySettings, Separation, SeparationStep,
};
use steadygrad::probe::{Perturbed, TwinError, TwinRun};
use steadygrad::{Guard, GuardConfig};
use steadygrad_burn::StepWithoutRollback;

use crate::batches::Batches;
use crate::build::{StepEffects, build};
use crate::random::{Purpose, generator};
use crate::{Plan, Subject, Tape, flat};

/// How a pair of twins is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Twins {
    /// Updates of each twin, instead of the plan's steps.
    pub steps: u64,
    /// Rows of a step; `None` is the plan's batch size.
    pub batch_size: Option<usize>,
    /// What differs between the twins.
    pub perturb: Perturbed,
    /// Relative size of the initial difference: `|w' - w| = perturbation |w|` over all weights, or
    /// `|x' - x| = perturbation |x|` for each training input.
    pub perturbation: f64,
}

impl Default for Twins {
    /// 200 updates of twins whose weights differ by 1e-8.
    fn default() -> Self {
        Self {
            steps: 200,
            batch_size: None,
            perturb: Perturbed::Weights,
            perturbation: 1e-8,
        }
    }
}

/// Trains two models that differ by a small perturbation, and measures how fast they separate.
///
/// Both have the plan's optimizer and remedies and see the same batches. The perturbation of the
/// weights or of the inputs is random.
///
/// If [`Subject::computes_in_f64`], the twins train in f64, where 1e-8 is far above round-off.
/// Other twins train in f32, where 1e-8 would be rounded away. Their perturbation is raised to
/// twice the floor of [`ButterflySettings`], 2.4e-6, which is then the `applied` one.
///
/// A twin may diverge: the first step with a non-finite loss, weight or gradient is the last one in
/// the outcome. The outcome is an error in these cases:
/// - [`TwinError::Perturbation`]: the perturbation is not positive and finite, or all values
///   that it should move are zero.
/// - [`ButterflyError::NonFinite`] at step 0: a weight is not finite.
/// - [`TwinError::FixedInputs`]: the subject cannot move its inputs.
/// - [`TwinError::Clip`]: the plan's clip has a setting out of range.
pub fn butterfly<S: Subject>(subject: &S, plan: &Plan, twins: Twins, device: &Device) -> TwinRun {
    let mut plan = plan.clone();
    plan.batch_size = twins.batch_size.unwrap_or(plan.batch_size);
    let plan = &plan;
    let (mut model, effects) = build(subject, plan, &plan.remedies, device);
    // What changes weights after an update writes them back as f32.
    if !effects.changes_weights() && subject.computes_in_f64(&model) {
        model = flat::in_f64(model);
    }
    let settings = ButterflySettings::new(flat::resolution(&model));
    let least = if settings.resolution == f64::EPSILON {
        0.0
    } else {
        2.0 * settings.floor()
    };
    // `f64::max` would turn NaN into a number.
    let applied = if twins.perturbation < least {
        least
    } else {
        twins.perturbation
    };
    let usable = twins.perturbation > 0.0 && twins.perturbation.is_finite();
    let outcome = if usable {
        second(subject, &model, twins.perturb, applied, plan.seed).and_then(|(moved, twin)| {
            let subjects = [subject, moved.as_ref().unwrap_or(subject)];
            let steps = train(subjects, [model, twin], &effects, plan, twins.steps)?;
            Ok(Butterfly::new(steps, settings)?)
        })
    } else {
        Err(TwinError::Perturbation {
            size: twins.perturbation,
        })
    };
    TwinRun {
        perturbed: twins.perturb,
        requested: twins.perturbation,
        applied,
        resolution: settings.resolution,
        updates: twins.steps,
        batch_size: plan.batch_size,
        outcome,
    }
}

/// The second twin: its subject, if it differs from the first one's, and its model.
fn second<S: Subject>(
    subject: &S,
    model: &S::Model,
    perturb: Perturbed,
    size: f64,
    seed: u64,
) -> Result<(Option<S>, S::Model), TwinError> {
    let mut rng = generator(seed, Purpose::Twin);
    match perturb {
        Perturbed::Weights => Ok((None, perturbed(model, size, &mut rng)?)),
        Perturbed::Inputs => {
            let moved = subject.with_moved_inputs(size, &mut rng);
            let moved = moved.ok_or(TwinError::FixedInputs)?;
            Ok((Some(moved), model.clone()))
        }
    }
}

/// Trains both twins and compares them before each update.
fn train<S: Subject>(
    subjects: [&S; 2],
    models: [S::Model; 2],
    effects: &StepEffects,
    plan: &Plan,
    updates: u64,
) -> Result<Vec<SeparationStep>, TwinError> {
    let mut config = GuardConfig::observe();
    config.clip = effects.clip.map(Policy::from);
    let guard = Guard::new(config).map_err(|_| TwinError::Clip {
        max_norm: effects.clip.map_or(f64::NAN, |clip| clip.max_norm),
    })?;
    let learning_rate = effects.learning_rate(plan);
    let samples = subjects[0].summary().training_samples;
    let mut batches = Batches::new(samples, plan.batch_size, plan.seed);
    let [first, second] = models;
    let twin = |subject, model| Twin {
        subject,
        model: Some(model),
        guard: guard.clone(),
        optimizer: plan.optimizer.init(plan.momentum),
        effects: effects.clone(),
    };
    let mut twins = [twin(subjects[0], first), twin(subjects[1], second)];
    let mut steps = Vec::new();
    for step in 0..=updates {
        let rows = batches.next_batch();
        let rate = plan.scheduled(learning_rate, step);
        let [Some(a), Some(b)] = twins.each_mut().map(|twin| twin.step(rows, step, rate)) else {
            break;
        };
        let apart = SeparationStep {
            step,
            loss: Separation::between(&[a.loss], &[b.loss]),
            weights: Separation::between(&a.weights, &b.weights),
            gradients: Separation::between(&a.gradient, &b.gradient),
        };
        steps.push(apart);
        let all = [apart.loss, apart.weights, apart.gradients];
        if all.iter().any(|one| one.relative().is_nan()) {
            break;
        }
    }
    Ok(steps)
}

/// One of the two models with all that trains it.
struct Twin<'a, S: Subject> {
    subject: &'a S,
    model: Option<S::Model>,
    guard: Guard,
    optimizer: ModuleOptimizer,
    effects: StepEffects,
}

/// A twin before an update.
struct TwinState {
    loss: f64,
    weights: Vec<f64>,
    gradient: Vec<f64>,
}

impl<S: Subject> Twin<'_, S> {
    /// Makes one update. Returns the state before it.
    fn step(&mut self, rows: &[usize], step: u64, learning_rate: f64) -> Option<TwinState> {
        let model = self.model.take()?;
        let mut tape = Tape::off();
        let (loss, gradients) = self.subject.loss_and_gradients(&model, rows, &mut tape);
        let state = TwinState {
            loss,
            weights: flat::weights(&model),
            gradient: flat::gradient(&model, &gradients),
        };
        let done = StepWithoutRollback::new(&mut self.guard, &mut self.optimizer, step).run(
            learning_rate,
            model,
            gradients,
            loss,
        );
        self.model = Some(self.effects.after_update(done.model, learning_rate));
        Some(state)
    }
}

/// The model, moved in a random direction by this share of its norm.
fn perturbed<M: Module>(model: &M, size: f64, rng: &mut dyn Rng) -> Result<M, TwinError> {
    let mut weights = flat::weights(model);
    let direction: Vec<f64> = weights.iter().map(|_| StandardNormal.sample(rng)).collect();
    let length = size * flat::norm(&weights) / flat::norm(&direction);
    if !length.is_finite() {
        return Err(ButterflyError::NonFinite { step: 0 }.into());
    }
    if length <= 0.0 {
        return Err(TwinError::Perturbation { size });
    }
    for (weight, along) in weights.iter_mut().zip(&direction) {
        *weight += length * along;
    }
    Ok(flat::with_weights(model.clone(), &weights))
}

/// The values, moved in a random direction by this share of their norm. Values that are all zero
/// stay zero.
pub(crate) fn moved(values: &[f32], size: f64, rng: &mut dyn Rng) -> Vec<f64> {
    let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    let direction: Vec<f64> = values.iter().map(|_| StandardNormal.sample(rng)).collect();
    let along = flat::norm(&direction);
    let length = if along > 0.0 {
        size * flat::norm(&values) / along
    } else {
        0.0
    };
    let pairs = values.iter().zip(&direction);
    pairs.map(|(value, along)| value + length * along).collect()
}
