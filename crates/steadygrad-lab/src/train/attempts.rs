use burn::tensor::Device;
use steadygrad::dynamics::Axis;
use steadygrad::guard::{GuardConfigError, Judgement, Preset};
use steadygrad::{Guard, GuardConfig, StepReading};
use steadygrad_burn::{GuardedOptimizer, LoopMeasurements, RestoreError};
use steadygrad_record::Snapshot;

use super::error::TrainError;
use crate::batches::Batches;
use crate::build::{StepEffects, build};
use crate::faults::{Distortion, FaultError, Faults};
use crate::{Plan, Subject, Tape};

/// Growth through depth or time is measured once in this many attempts, beginning with the first:
/// reading the gradients of all activations makes an attempt slower.
const GROWTH_STEPS: u64 = 50;

/// The attempts of a guarded run, one after the other. Training makes them once, and a replay
/// repeats them.
pub(crate) struct Attempts<'a, S: Subject> {
    subject: &'a S,
    plan: &'a Plan,
    faults: &'a Faults,
    pub(crate) optimizer: GuardedOptimizer<S::Model>,
    effects: StepEffects,
    /// The learning rate that the schedule scales.
    full: f64,
    batches: Batches,
}

// A derived `Clone` would require that the subject is `Clone`.
impl<S: Subject> Clone for Attempts<'_, S> {
    fn clone(&self) -> Self {
        Self {
            optimizer: self.optimizer.clone(),
            effects: self.effects.clone(),
            batches: self.batches.clone(),
            ..*self
        }
    }
}

/// The batch of an attempt.
pub(crate) struct AttemptInput {
    pub(crate) step: u64,
    pub(crate) rows: Vec<usize>,
    pub(crate) distortion: Distortion,
}

/// The result of an attempt.
pub(crate) struct Attempt<M> {
    pub(crate) model: M,
    pub(crate) loss: f64,
    pub(crate) reading: StepReading,
    pub(crate) judgement: Judgement,
    pub(crate) rolled_back_to: Option<u64>,
    pub(crate) update_norm: Option<f64>,
}

impl<'a, S: Subject> Attempts<'a, S> {
    /// Builds the model before the first attempt.
    pub(crate) fn start(
        subject: &'a S,
        plan: &'a Plan,
        guard: &GuardConfig,
        faults: &'a Faults,
        device: &Device,
    ) -> Result<(Self, S::Model), TrainError> {
        let (model, effects) = build(subject, plan, &plan.remedies, device);
        faults.fits(&model)?;
        faults.reached_within(plan.steps)?;
        let mut config = guard.clone();
        if let Some(clip) = effects.clip {
            config = config.with_clip(clip);
        }
        let optimizer = plan.optimizer.init(plan.momentum);
        let samples = subject.summary().training_samples;
        let attempts = Self {
            subject,
            plan,
            faults,
            optimizer: GuardedOptimizer::new(Guard::new(config)?, optimizer),
            full: effects.learning_rate(plan),
            effects,
            batches: Batches::new(samples, plan.batch_size, plan.seed),
        };
        Ok((attempts, model))
    }

    /// Continues from a snapshot. No batch may be taken before.
    pub(crate) fn restore(
        self,
        model: S::Model,
        snapshot: &Snapshot,
    ) -> Result<(Self, S::Model), RestoreError> {
        let (optimizer, model) = self.optimizer.restore(model, snapshot)?;
        let mut batches = self.batches;
        for _ in 0..optimizer.next_step() {
            batches.next_batch();
        }
        let restored = Self {
            optimizer,
            batches,
            ..self
        };
        Ok((restored, model))
    }

    /// Continues with a guard that only observes. The plan's clip stays, and so does the learning
    /// rate that the guard has set.
    pub(crate) fn unguarded(self) -> Result<Self, GuardConfigError> {
        let scale = self.optimizer.guard().learning_rate_scale();
        let mut config = GuardConfig::from(Preset::Observe);
        if let Some(clip) = self.effects.clip {
            config = config.with_clip(clip);
        }
        Ok(Self {
            optimizer: self.optimizer.with_guard(Guard::new(config)?),
            full: self.full * scale,
            ..self
        })
    }

    /// The number of the next attempt.
    pub(crate) fn next_step(&self) -> u64 {
        self.optimizer.next_step()
    }

    /// Draws the next batch. [`Attempts::make`] must follow.
    pub(crate) fn draw(&mut self) -> AttemptInput {
        let step = self.next_step();
        AttemptInput {
            step,
            rows: self.batches.next_batch().to_vec(),
            distortion: self.faults.batch(step),
        }
    }

    /// Makes one attempt: forward pass, backward pass, the guard's decision and the update.
    pub(crate) fn make(
        &mut self,
        input: &AttemptInput,
        model: S::Model,
    ) -> Result<Attempt<S::Model>, TrainError> {
        let step = input.step;
        let model = self.faults.model(step, model);
        let mut tape = if step.is_multiple_of(GROWTH_STEPS) {
            Tape::on()
        } else {
            Tape::off()
        };
        let (loss, gradients) = self
            .subject
            .distorted_loss_and_gradients(&model, &input.rows, &input.distortion, &mut tape)
            .ok_or_else(|| FaultError::CannotDistort {
                subject: self.subject.summary().name,
            })?;
        let gradients = self.faults.gradients(step, &model, gradients);
        let scheduled = self.plan.scheduled(self.full, step);
        let learning_rate = self.faults.learning_rate(step, scheduled);
        let mut measurements = LoopMeasurements::new(loss);
        if tape.is_on() {
            measurements = self.with_growth(measurements, tape);
        }
        let done = self
            .optimizer
            .step(learning_rate, model, gradients, measurements);
        let mut model = done.model;
        if done.report.judgement.decision.applies() {
            let applied = learning_rate * self.optimizer.guard().learning_rate_scale();
            model = self.effects.after_update(model, applied);
        }
        Ok(Attempt {
            model,
            loss,
            reading: done.report.reading,
            judgement: done.report.judgement,
            rolled_back_to: done.report.rolled_back_to,
            update_norm: done.report.update_norm,
        })
    }

    fn with_growth(&self, measurements: LoopMeasurements, tape: Tape) -> LoopMeasurements {
        let axis = self.subject.summary().growth_axis();
        let growth = tape.into_profile(axis).backward_growth_rate().map(f64::ln);
        match axis {
            Axis::Depth => measurements.with_depth_growth(growth),
            Axis::Time => measurements.with_time_growth(growth),
        }
    }
}
