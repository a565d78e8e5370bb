use burn::module::Module;
use burn::tensor::Device;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use steadygrad::clip::Policy;
use steadygrad::dynamics::{
    Butterfly, ButterflyError, ButterflySettings, Separation, SeparationStep,
};
use steadygrad::probe::{Perturbed, TwinRun};
use steadygrad::{Guard, GuardConfig};
use steadygrad_burn::guarded_step;

use crate::batches::Batches;
use crate::build::{StepEffects, build};
use crate::random::{Purpose, generator};
use crate::{Plan, Subject, Tape, flat};

/// How twins are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Twins {
    /// Updates of each twin; the plan's own number is not used.
    pub steps: u64,
    /// Rows a step; `None` is the plan's batch size.
    pub batch_size: Option<usize>,
    /// What differs.
    pub perturb: Perturbed,
    /// Size of the initial difference relative to what differs: `|w' - w| = perturbation |w|` for
    /// all weights together, `|x' - x| = perturbation |x|` for each training input.
    pub perturbation: f64,
}

impl Default for Twins {
    /// 200 updates, weights that differ by 1e-8.
    fn default() -> Self {
        Self {
            steps: 200,
            batch_size: None,
            perturb: Perturbed::Weights,
            perturbation: 1e-8,
        }
    }
}

/// Trains two models that differ by a random perturbation of the weights or of the inputs, with the
/// plan's optimizer and remedies and the same batches, and reads how they part.
///
/// Where the subject can compute in f64 ([`Subject::computes_in_f64`]) the twins do, and 1e-8 is
/// far above round-off. Where it cannot, they train in f32, in which 1e-8 is less than half a
/// digit of most values and would vanish: the perturbation is then raised to twice the floor of
/// [`ButterflySettings`], 2.4e-6. `applied` says what it came to.
///
/// A twin that diverges is an outcome: the step at which a loss, weight or gradient is no longer
/// finite is the last one recorded. The outcome is an error for a perturbation that is not positive
/// and finite, or that moves nothing but zeros ([`ButterflyError::Perturbation`]), for weights that
/// are not finite ([`ButterflyError::NonFinite`] at step 0), and for a subject whose inputs cannot
/// be moved ([`ButterflyError::FixedInputs`]).
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
    // `max` would make a number of NaN.
    let applied = if twins.perturbation < least {
        least
    } else {
        twins.perturbation
    };
    let usable = twins.perturbation > 0.0 && twins.perturbation.is_finite();
    let outcome = if usable {
        second(subject, &model, twins.perturb, applied, plan.seed).and_then(|(moved, twin)| {
            let subjects = [subject, moved.as_ref().unwrap_or(subject)];
            let steps = train(subjects, [model, twin], effects, plan, twins.steps)?;
            Butterfly::new(settings, steps)
        })
    } else {
        Err(ButterflyError::Perturbation {
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

/// The second twin: its subject, if that differs from the first one's, and its model.
fn second<S: Subject>(
    subject: &S,
    model: &S::Model,
    perturb: Perturbed,
    size: f64,
    seed: u64,
) -> Result<(Option<S>, S::Model), ButterflyError> {
    let mut rng = generator(seed, Purpose::Twin);
    match perturb {
        Perturbed::Weights => Ok((None, perturbed(model, size, &mut rng)?)),
        Perturbed::Inputs => {
            let moved = subject.with_moved_inputs(size, &mut rng);
            let moved = moved.ok_or(ButterflyError::FixedInputs)?;
            Ok((Some(moved), model.clone()))
        }
    }
}

/// Trains both and compares them before each update.
fn train<S: Subject>(
    subjects: [&S; 2],
    models: [S::Model; 2],
    effects: StepEffects,
    plan: &Plan,
    updates: u64,
) -> Result<Vec<SeparationStep>, ButterflyError> {
    let guard = Guard::new(GuardConfig {
        clip: effects.clip.map(Policy::from),
        ..GuardConfig::observe()
    })
    .map_err(|_| ButterflyError::Clip {
        max_norm: effects.clip.map_or(f64::NAN, |clip| clip.max_norm),
    })?;
    let mut guards = [guard.clone(), guard];
    let mut optimizers = [(); 2].map(|()| plan.optimizer.init(plan.momentum));
    let learning_rate = effects.learning_rate(plan);
    let samples = subjects[0].summary().training_samples;
    let mut batches = Batches::new(samples, plan.batch_size, plan.seed);
    let mut effects = [effects.clone(), effects];
    let mut models = models.map(Some);
    let mut steps = Vec::new();
    for step in 0..=updates {
        let rows = batches.next_batch();
        let mut seen = Vec::new();
        for index in 0..2 {
            let Some(model) = models[index].take() else {
                continue;
            };
            let (loss, gradients) =
                subjects[index].loss_and_gradients(&model, rows, &mut Tape::off());
            seen.push((
                loss,
                flat::weights(&model),
                flat::gradient(&model, &gradients),
            ));
            let rate = plan.scheduled(learning_rate, step);
            let done = guarded_step(
                &mut guards[index],
                model,
                gradients,
                &mut optimizers[index],
                step,
                loss,
                rate,
            );
            models[index] = Some(effects[index].after_update(done.model, rate));
        }
        let [a, b] = seen.as_slice() else { break };
        let apart = SeparationStep {
            step,
            loss: Separation::between(&[a.0], &[b.0]),
            weights: Separation::between(&a.1, &b.1),
            gradients: Separation::between(&a.2, &b.2),
        };
        steps.push(apart);
        let all = [apart.loss, apart.weights, apart.gradients];
        if all.iter().any(|one| one.relative().is_nan()) {
            break;
        }
    }
    Ok(steps)
}

/// The model, moved in a random direction by this fraction of its norm.
fn perturbed<M: Module>(model: &M, size: f64, rng: &mut dyn Rng) -> Result<M, ButterflyError> {
    let mut weights = flat::weights(model);
    let direction: Vec<f64> = weights.iter().map(|_| StandardNormal.sample(rng)).collect();
    let length = size * flat::norm(&weights) / flat::norm(&direction);
    if !length.is_finite() {
        return Err(ButterflyError::NonFinite { step: 0 });
    }
    if length <= 0.0 {
        return Err(ButterflyError::Perturbation { size });
    }
    for (weight, along) in weights.iter_mut().zip(&direction) {
        *weight += length * along;
    }
    Ok(flat::with_weights(model.clone(), &weights))
}

/// Values moved in a random direction by this fraction of their norm; zeros stay zeros.
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
