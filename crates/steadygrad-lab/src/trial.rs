use std::path::Path;
use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use steadygrad::clip::Policy;
use steadygrad::cure::unstable::{TrialEnd, TrialRecorder};
use steadygrad::cure::{End, Outcome};
use steadygrad::guard::{Judgement, Preset, Response};
use steadygrad::remedy::Remedy;
use steadygrad::{Guard, GuardConfig, StepReading};
use steadygrad_burn::StepWithoutRollback;
use steadygrad_record::{RecordError, RunDir, RunStatus, StepRecord};

use crate::batches::Batches;
use crate::build::{StepEffects, build};
use crate::manifest::manifest;
use crate::margin::stability_margin;
use crate::{Control, Plan, StepProgress, Subject, Tape};

/// Which trial to run.
#[derive(Debug, Clone, Copy)]
pub struct TrialSpec<'a> {
    /// The trial's name.
    pub name: &'a str,
    /// What it changes; `None` is the baseline.
    pub remedy: Option<&'a Remedy>,
    /// Only watch: even a non-finite update is applied.
    pub observe: bool,
    /// The run directory; `None` keeps no record.
    pub run_dir: Option<&'a Path>,
    /// Whether to measure the stability margin of a surviving trial.
    pub margin: bool,
}

/// Runs one trial from its start to its end.
///
/// # Errors
/// Only those of the run directory. A failed training is an outcome, not an error.
pub fn run_trial<S: Subject>(
    subject: &S,
    plan: &Plan,
    spec: TrialSpec<'_>,
    device: &Device,
    control: Control<'_>,
) -> Result<Outcome, RecordError> {
    control.progress.started(spec.name, plan.steps);
    let mut outcome = train(subject, plan, spec, 1.0, device, control)?;
    let (untreated, _) = build(subject, plan, &plan.remedies, device);
    outcome.work /= subject.work(&untreated);
    if spec.margin && outcome.verdict.survived() {
        let unrecorded = TrialSpec {
            observe: false,
            run_dir: None,
            ..spec
        };
        outcome.stability_margin = stability_margin(plan, |short, speed| {
            train(subject, short, unrecorded, speed, device, control)
        })?;
    }
    control.progress.ended(spec.name, &outcome);
    Ok(outcome)
}

/// Trains once, with the learning rate multiplied by `speed`. The outcome's `work` is not yet
/// relative to the baseline's.
fn train<S: Subject>(
    subject: &S,
    plan: &Plan,
    spec: TrialSpec<'_>,
    speed: f64,
    device: &Device,
    control: Control<'_>,
) -> Result<Outcome, RecordError> {
    let summary = subject.summary();
    let remedies: Vec<Remedy> = plan.remedies.iter().chain(spec.remedy).copied().collect();
    let (mut model, effects) = build(subject, plan, &remedies, device);
    let work = subject.work(&model);
    let learning_rate = speed * effects.learning_rate(plan);
    let (guard, mut end) = guard(&effects, spec.observe);
    let steps = if end == End::Completed { plan.steps } else { 0 };
    let record = spec
        .run_dir
        .map(|path| RunDir::create(path, manifest(subject, plan, spec.name, &model)))
        .transpose()?;
    let mut run = Run {
        subject,
        guard,
        optimizer: plan.optimizer.init(plan.momentum),
        effects,
        record,
        recorder: TrialRecorder::default(),
        seconds: 0.0,
    };
    let mut batches = Batches::new(summary.training_samples, plan.batch_size, plan.seed);
    for step in 0..steps {
        if control.is_cancelled() {
            end = End::Interrupted;
            break;
        }
        let rate = plan.scheduled(learning_rate, step);
        let done = run.step(model, batches.next_batch(), step, rate)?;
        model = done.model;
        let progress = run.progress(step, done.loss, done.grad_norm);
        control.progress.stepped(spec.name, progress);
        if let Some(ended) = done.end {
            end = ended;
            break;
        }
    }
    if let Some(record) = run.record {
        record.finish(status_of(&end))?;
    }
    let validation_metric = match end {
        End::Completed => subject.validate(&model),
        _ => f64::NAN,
    };
    let at = TrialEnd {
        validation_metric,
        goal: summary.goal,
        work,
        seconds: run.seconds,
    };
    Ok(run.recorder.finish(end, at))
}

fn status_of(end: &End) -> RunStatus {
    match end {
        End::Interrupted => RunStatus::Interrupted,
        _ => RunStatus::Ended,
    }
}

/// A trial in progress, without its model.
struct Run<'a, S> {
    subject: &'a S,
    guard: Guard,
    optimizer: ModuleOptimizer,
    effects: StepEffects,
    record: Option<RunDir>,
    recorder: TrialRecorder,
    /// Seconds of training, without the record.
    seconds: f64,
}

/// The result of a step.
struct StepResult<M> {
    model: M,
    loss: f64,
    grad_norm: f64,
    /// How the trial has ended, if it has.
    end: Option<End>,
}

impl<S: Subject> Run<'_, S> {
    fn progress(&self, step: u64, loss: f64, grad_norm: f64) -> StepProgress<'_> {
        StepProgress {
            step,
            loss,
            grad_norm,
            guard: self.guard.summary(),
        }
    }

    /// Makes one step and records it.
    fn step(
        &mut self,
        model: S::Model,
        rows: &[usize],
        step: u64,
        learning_rate: f64,
    ) -> Result<StepResult<S::Model>, RecordError> {
        let begin = Instant::now();
        let mut tape = Tape::off();
        let (loss, gradients) = self.subject.loss_and_gradients(&model, rows, &mut tape);
        let done = StepWithoutRollback::new(&mut self.guard, &mut self.optimizer, step).run(
            learning_rate,
            model,
            gradients,
            loss,
        );
        let model = self.effects.after_update(done.model, learning_rate);
        self.seconds += begin.elapsed().as_secs_f64();

        let end = self
            .recorder
            .step(&done.report.reading, &done.report.judgement);
        if let Some(record) = &mut self.record {
            record_step(record, step, &done.report.reading, &done.report.judgement)?;
        }
        Ok(StepResult {
            model,
            loss,
            grad_norm: done.report.reading.gradients.global_norm(),
            end,
        })
    }
}

/// The trial's guard, and how the trial has ended if the clip has a setting out of range.
fn guard(effects: &StepEffects, observe: bool) -> (Guard, End) {
    let response = if observe {
        Response::Observe
    } else {
        Response::Stop
    };
    let mut config = GuardConfig::default().with_response(response);
    config.clip = effects.clip.map(Policy::from);
    match Guard::new(config) {
        Ok(guard) => (guard, End::Completed),
        Err(error) => {
            let reason = format!("the remedy cannot be used: {error}");
            (Guard::from(Preset::Observe), End::Failed { reason })
        }
    }
}

fn record_step(
    record: &mut RunDir,
    step: u64,
    reading: &StepReading,
    judgement: &Judgement,
) -> Result<(), RecordError> {
    if let Some(incident) = judgement.incident(step) {
        record.push_incident(&incident)?;
    }
    record.push_step(StepRecord::new(reading, &judgement.decision))
}
