use burn::tensor::Device;
use steadygrad::GradientStats;
use steadygrad::stats::global_norm;
use steadygrad_burn::{GradientClipper, gradient_stats, weight_norms};

use crate::batches::Batches;
use crate::build::build;
use crate::faults::{FaultError, Faults};
use crate::{Plan, Subject, Tape};

/// How a run without a guard went.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct UnguardedRun {
    /// Loss of each attempt, on its batch with the faults.
    pub losses: Vec<f64>,
    /// The first attempt whose loss or gradient was not finite.
    pub first_non_finite: Option<u64>,
    /// Validation metric of the last model; NaN when its predictions are not finite.
    pub validation_metric: f64,
}

/// One step as a logger sees it: after the backward pass, before the update.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LoggedStep<'a> {
    /// The attempt.
    pub step: u64,
    /// Loss of its batch.
    pub loss: f64,
    /// The learning rate of the update.
    pub learning_rate: f64,
    /// The gradients before clipping.
    pub gradients: &'a GradientStats,
    /// L2 norm of all weights.
    pub weight_norm: f64,
}

/// Trains a subject by its plan with these faults and without a guard, as a control for one. Every
/// update is applied, even a non-finite one. A `clip` among the plan's remedies clips.
///
/// # Errors
/// [`FaultError::UnknownParameter`], [`FaultError::NeverReached`] and [`FaultError::CannotDistort`]
/// for a fault that would not act, [`FaultError::Setting`] for a clip with a setting out of range.
pub fn train_unguarded<S: Subject>(
    subject: &S,
    plan: &Plan,
    faults: &Faults,
    device: &Device,
) -> Result<UnguardedRun, FaultError> {
    train_unguarded_logged(subject, plan, faults, device, &mut |_| ())
}

/// [`train_unguarded`] that hands each step to a logger.
///
/// # Errors
/// Those of [`train_unguarded`].
pub fn train_unguarded_logged<S: Subject>(
    subject: &S,
    plan: &Plan,
    faults: &Faults,
    device: &Device,
    log: &mut dyn FnMut(LoggedStep<'_>),
) -> Result<UnguardedRun, FaultError> {
    let summary = subject.summary();
    let (mut model, mut effects) = build(subject, plan, &plan.remedies, device);
    faults.fits(&model)?;
    faults.reached_within(plan.steps)?;
    let full = effects.learning_rate(plan);
    let mut clipper = effects.clip.map(GradientClipper::new).transpose()?;
    let mut optimizer = plan.optimizer.init(plan.momentum);
    let mut batches = Batches::new(summary.training_samples, plan.batch_size, plan.seed);
    let mut run = UnguardedRun {
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
        if !loss.is_finite() || stats.non_finite() > 0 {
            run.first_non_finite.get_or_insert(attempt);
        }
        log(LoggedStep {
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
                    .model
            }
            None => optimizer.step(learning_rate, model, gradients),
        };
        model = effects.after_update(model, learning_rate);
    }
    run.validation_metric = subject.validate(&model);
    Ok(run)
}
