use burn::tensor::Device;
use steadygrad::GradientStats;
use steadygrad::stats::global_norm;
use steadygrad_burn::{GradientClipper, gradient_stats, weight_norms};

use super::{FaultError, Faults};
use crate::batches::Batches;
use crate::build::build;
use crate::{Plan, Subject, Tape};

/// How a run without a guard went.
#[derive(Debug, Clone, PartialEq)]
pub struct Unguarded {
    /// Loss of each attempt, of its batch as the faults left it.
    pub losses: Vec<f64>,
    /// The first attempt whose loss or gradient was not finite.
    pub first_non_finite: Option<u64>,
    /// Validation metric of the last model; NaN when its predictions are not finite.
    pub validation_metric: f64,
}

/// One step as a logger would see it: after the backward pass, before the update.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// The attempt.
    pub step: u64,
    /// Of its batch.
    pub loss: f64,
    /// As it is used.
    pub learning_rate: f64,
    /// Before clipping.
    pub gradients: &'a GradientStats,
    /// L2 norm of all weights.
    pub weight_norm: f64,
}

/// Trains a subject by its plan with these faults and nobody who acts: what a guard is
/// compared with. Every update is applied, whatever it is. A `clip` among the plan's remedies
/// clips.
///
/// # Errors
/// [`FaultError::UnknownParameter`], [`FaultError::NeverReached`] and [`FaultError::CannotDistort`]
/// for a fault that would not act, [`FaultError::Clip`] for a clip that cannot be used.
pub fn train_unguarded<S: Subject>(
    subject: &S,
    plan: &Plan,
    faults: &Faults,
    device: &Device,
) -> Result<Unguarded, FaultError> {
    train_watched(subject, plan, faults, device, &mut |_| ())
}

/// The same, with somebody who looks on.
///
/// # Errors
/// Those of [`train_unguarded`].
pub fn train_watched<S: Subject>(
    subject: &S,
    plan: &Plan,
    faults: &Faults,
    device: &Device,
    watch: &mut dyn FnMut(Watched<'_>),
) -> Result<Unguarded, FaultError> {
    let summary = subject.summary();
    let (mut model, mut effects) = build(subject, plan, &plan.remedies, device);
    faults.fits(&model)?;
    faults.reached_within(plan.steps)?;
    let full = effects.learning_rate(plan);
    let mut clipper = effects.clip.map(GradientClipper::new).transpose()?;
    let mut optimizer = plan.optimizer.init(plan.momentum);
    let mut batches = Batches::new(summary.training_samples, plan.batch_size, plan.seed);
    let mut run = Unguarded {
        losses: Vec::new(),
        first_non_finite: None,
        validation_metric: f64::NAN,
    };
    for attempt in 0..plan.steps {
        let rows = batches.next_batch();
        let distortion = faults.batch(attempt);
        model = faults.model(attempt, model);
        let (loss, gradients) = subject
            .distorted_loss_and_gradients(&model, rows, &distortion, &mut Tape::off())
            .ok_or_else(|| FaultError::CannotDistort {
                subject: summary.name.clone(),
            })?;
        let gradients = faults.gradients(attempt, &model, gradients);
        let learning_rate = faults.learning_rate(attempt, plan.scheduled(full, attempt));
        let stats = gradient_stats(&model, &gradients);
        let finite = loss.is_finite() && stats.non_finite() == 0;
        if !finite && run.first_non_finite.is_none() {
            run.first_non_finite = Some(attempt);
        }
        watch(Watched {
            step: attempt,
            loss,
            learning_rate,
            gradients: &stats,
            weight_norm: global_norm(weight_norms(&model).into_iter()),
        });
        run.losses.push(loss);
        model = match &mut clipper {
            Some(clipper) => {
                clipper
                    .step(&mut optimizer, learning_rate, model, gradients)
                    .0
            }
            None => optimizer.step(learning_rate, model, gradients),
        };
        model = effects.after_update(model, learning_rate);
    }
    run.validation_metric = subject.validate(&model);
    Ok(run)
}
