use burn::tensor::Device;
use rand_distr::{Distribution, StandardNormal};
use steadygrad::dynamics::{
    Butterfly, ButterflyError, ButterflySettings, Separation, SeparationStep,
};
use steadygrad::guard::OnNonFinite;
use steadygrad::{Guard, GuardConfig};
use steadygrad_burn::guarded_step;

use crate::batches::Batches;
use crate::random::{Purpose, generator};
use crate::trial::build;
use crate::{Plan, Subject, Tape, flat};

/// How twins are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Twins {
    /// Updates of each twin; the plan's own number is not used. With the plan's batch size this
    /// bounds the work.
    pub steps: u64,
    /// Size of the initial difference relative to all weights: `|w' - w| = perturbation |w|`.
    pub perturbation: f64,
}

impl Default for Twins {
    /// 200 updates, a difference of 1e-8.
    fn default() -> Self {
        Self {
            steps: 200,
            perturbation: 1e-8,
        }
    }
}

/// Trains two models that differ by a random perturbation of the weights, with the plan's
/// optimizer and remedies and the same batches, and reads how they part.
///
/// Where the subject can compute in f64 ([`Subject::computes_in_f64`]) the twins do, and 1e-8 is
/// far above round-off. Where it cannot, they train in f32, in which 1e-8 is less than half a
/// digit of most weights and would vanish: the perturbation is then raised to twice the floor of
/// [`ButterflySettings`], 2.4e-6. What it came to is the first step's `weights` separation; which
/// of the two it was, `settings.resolution` tells.
///
/// A twin that diverges is an outcome: the step at which a loss, weight or gradient is no longer
/// finite is the last one recorded.
///
/// # Errors
/// A perturbation that is not positive and finite, or weights that are not finite or all zero
/// ([`ButterflyError::NonFinite`] at step 0).
pub fn butterfly<S: Subject>(
    subject: &S,
    plan: &Plan,
    twins: Twins,
    device: &Device,
) -> Result<Butterfly, ButterflyError> {
    let (mut model, mut acting) = build(subject, plan, &plan.remedies, device);
    // A spectral cap writes weights back as f32.
    if acting.cap.is_none() && subject.computes_in_f64(&model) {
        model = flat::in_f64(model);
    }
    let settings = ButterflySettings::new(flat::resolution(&model));
    let twin = perturbed(&model, twins.perturbation, plan.seed, &settings)?;

    let guard = || {
        Guard::new(GuardConfig {
            clip: acting.clip,
            on_non_finite: OnNonFinite::Observe,
            ..GuardConfig::default()
        })
    };
    let mut guards = [guard(), guard()];
    let mut optimizers = [(); 2].map(|()| plan.optimizer.init(plan.momentum));
    let learning_rate = acting.learning_rate.unwrap_or(plan.learning_rate);
    let samples = subject.summary().training_samples;
    let mut batches = Batches::new(samples, plan.batch_size, plan.seed);
    let mut caps = [acting.cap.clone(), acting.cap.take()];
    let mut models = [Some(model), Some(twin)];
    let mut steps = Vec::new();
    for step in 0..=twins.steps {
        let rows = batches.next_batch();
        let mut seen = Vec::new();
        for index in 0..2 {
            let Some(model) = models[index].take() else {
                continue;
            };
            let (loss, gradients) = subject.loss_and_gradients(&model, rows, &mut Tape::off());
            seen.push((
                loss,
                flat::weights(&model),
                flat::gradient(&model, &gradients),
            ));
            let done = guarded_step(
                &mut guards[index],
                model,
                gradients,
                &mut optimizers[index],
                step,
                loss,
                plan.scheduled(learning_rate, step),
            );
            models[index] = Some(match &mut caps[index] {
                Some(cap) => cap.apply(done.model),
                None => done.model,
            });
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
    Butterfly::new(settings, steps)
}

/// The model, moved in a random direction by this fraction of its norm.
fn perturbed<M: burn::module::Module>(
    model: &M,
    perturbation: f64,
    seed: u64,
    settings: &ButterflySettings,
) -> Result<M, ButterflyError> {
    let mut weights = flat::weights(model);
    let mut rng = generator(seed, Purpose::Twin);
    let direction: Vec<f64> = weights
        .iter()
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let least = if settings.resolution == f64::EPSILON {
        0.0
    } else {
        2.0 * settings.floor()
    };
    let length = perturbation.max(least) * flat::norm(&weights) / flat::norm(&direction);
    let usable = perturbation > 0.0 && length > 0.0 && length.is_finite();
    if !usable {
        return Err(ButterflyError::NonFinite { step: 0 });
    }
    for (weight, along) in weights.iter_mut().zip(&direction) {
        *weight += length * along;
    }
    Ok(flat::with_weights(model.clone(), &weights))
}
