use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use steadygrad::guard::Incident;
use steadygrad::recover::Rung;
use steadygrad::{Decision, GuardConfig};
use steadygrad_burn::RestoreError;
use steadygrad_record::{
    ForensicRing, Manifest, NonFinite, Problem, RingStep, RunDir, RunStatus, Snapshot,
    SnapshotError, SnapshotStore, StepRecord, read_manifest, write_atomic,
};

use super::attempts::{Attempt, AttemptInput, Attempts};
use super::error::TrainError;
use super::outcome::{Rollback, TrainEnd, TrainOutcome};
use super::pace::Pace;
use crate::faults::Faults;
use crate::manifest::manifest;
use crate::{Control, Plan, Progress, StepProgress, Subject};

/// Steps that the forensic ring holds. They span more than two of the guard's own snapshots, so
/// that one of these snapshots lies within the ring.
const RING: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// The key of [`RunState`] in a snapshot.
const RUN: &str = "run";

/// How a run is guarded and recorded.
#[derive(Debug, Clone)]
pub struct TrainOptions<'a> {
    /// The run's name in the record and for [`crate::Progress`].
    pub name: &'a str,
    /// The guard's settings. A resumed run must have those that it was started with.
    pub guard: GuardConfig,
    /// The faults that are put into the run.
    pub faults: &'a Faults,
    /// The run directory; `None` keeps no record.
    pub run_dir: Option<&'a Path>,
    /// Resumes the run in `run_dir` instead of starting one.
    pub resume: bool,
    /// Files to write beside the record of a new run: their names and texts.
    pub notes: &'a [(&'a str, String)],
}

/// The part of a snapshot that belongs to the run, not to the optimizer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct RunState {
    rollbacks: Vec<Rollback>,
    first_alarm: Option<u64>,
    first_non_finite: Option<u64>,
    ring: ForensicRing,
    last_dump: Option<u64>,
}

/// Trains a subject by its plan under a guard, and records what happens.
///
/// Steps are attempts: each draws the next batch, and an attempt that is skipped or rolled back has
/// used its batch up. The learning rate's schedule counts attempts as well. A resumed run continues
/// to the bit as if it had never stopped.
///
/// Returns the outcome, and what was damaged in the folder of a resumed run.
///
/// # Errors
/// [`TrainError`]: a disk that is full or read-only, a folder that holds another run, settings out
/// of range. What was recorded before stays.
pub fn train<S: Subject>(
    subject: &S,
    plan: &Plan,
    options: &TrainOptions<'_>,
    device: &Device,
    control: Control<'_>,
) -> Result<(TrainOutcome, Vec<Problem>), TrainError> {
    control.progress.started(options.name, plan.steps);
    let (mut run, mut model) = Run::open(subject, plan, options, device)?;
    let mut end = TrainEnd::Completed;
    let begin = Instant::now();
    let mut pace = Pace::new(run.attempts.next_step());
    while run.attempts.next_step() < plan.steps {
        if control.is_cancelled() {
            end = TrainEnd::Interrupted;
            break;
        }
        let step = run.attempts.next_step();
        if run.record.is_some() && pace.is_due(step) {
            let writing = Instant::now();
            run.write_snapshot(&model)?;
            pace.written(step, writing.elapsed());
        }
        let (trained, decision) = run.step(model, control.progress)?;
        model = trained;
        if let Decision::Stop { reason } = decision {
            end = TrainEnd::Stopped { reason };
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    run.write_snapshot(&model)?;
    if let Some(record) = run.record {
        record.finish(match end {
            TrainEnd::Interrupted => RunStatus::Interrupted,
            TrainEnd::Completed | TrainEnd::Stopped { .. } => RunStatus::Ended,
        })?;
    }
    let outcome = TrainOutcome {
        end,
        steps: run.attempts.next_step(),
        validation_metric: subject.validate(&model),
        guard: run.attempts.optimizer.guard().summary().clone(),
        rollbacks: run.state.rollbacks,
        first_alarm: run.state.first_alarm,
        first_non_finite: run.state.first_non_finite,
        resumed_at: run.resumed_at,
        seconds,
        snapshot_seconds: pace.spent.as_secs_f64(),
    };
    Ok((outcome, run.problems))
}

/// A run in progress, without its model.
struct Run<'a, S: Subject> {
    name: &'a str,
    attempts: Attempts<'a, S>,
    state: RunState,
    record: Option<RunDir>,
    resumed_at: Option<u64>,
    problems: Vec<Problem>,
}

impl<'a, S: Subject> Run<'a, S> {
    /// Starts a run or resumes the one in the folder.
    fn open(
        subject: &'a S,
        plan: &'a Plan,
        options: &'a TrainOptions<'_>,
        device: &Device,
    ) -> Result<(Self, S::Model), TrainError> {
        let (attempts, model) =
            Attempts::start(subject, plan, &options.guard, options.faults, device)?;
        let mut run = Self {
            name: options.name,
            attempts,
            state: RunState {
                ring: ForensicRing::new(RING),
                ..RunState::default()
            },
            record: None,
            resumed_at: None,
            problems: Vec::new(),
        };
        let Some(path) = options.run_dir else {
            return if options.resume {
                Err(TrainError::NoFolder)
            } else {
                Ok((run, model))
            };
        };
        let manifest = manifest(subject, plan, options.name, &model);
        if options.resume {
            same_run(path, &manifest)?;
            return run.resume(path, model);
        }
        run.record = Some(RunDir::create(path, manifest)?);
        for (name, text) in options.notes {
            write_atomic(&path.join(name), text.as_bytes())?;
        }
        Ok((run, model))
    }

    /// Continues from the newest good snapshot; without one, from the start.
    fn resume(mut self, path: &Path, mut model: S::Model) -> Result<(Self, S::Model), TrainError> {
        let found = SnapshotStore::new(path).newest_good(None)?;
        self.problems.extend(found.problems);
        if let Some(snapshot) = found.value {
            (self.attempts, model) = self.attempts.restore(model, &snapshot)?;
            self.state = read_state(&snapshot)?;
        }
        let step = self.attempts.next_step();
        let opened = RunDir::resume(path, step)?;
        self.problems.extend(opened.problems);
        self.resumed_at = Some(step);
        self.record = Some(opened.value);
        Ok((self, model))
    }

    /// Makes one attempt, shows it and records it.
    fn step(
        &mut self,
        model: S::Model,
        progress: &dyn Progress,
    ) -> Result<(S::Model, Decision), TrainError> {
        let input = self.attempts.draw();
        let done = self.attempts.make(&input, model)?;
        self.state.note(input.step, &done);
        let row = StepRecord {
            learning_rate_scale: done.judgement.learning_rate_scale,
            update_norm: done.update_norm,
            batch: Some(input.step),
            ..StepRecord::new(&done.reading, &done.judgement.decision)
        };
        let shown = StepProgress {
            step: input.step,
            loss: done.loss,
            grad_norm: row.grad_norm,
            guard: self.attempts.optimizer.guard().summary(),
        };
        progress.stepped(self.name, shown);
        self.record(&input, row, &done)?;
        Ok((done.model, done.judgement.decision))
    }

    fn record(
        &mut self,
        input: &AttemptInput,
        row: StepRecord,
        done: &Attempt<S::Model>,
    ) -> Result<(), TrainError> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        self.state.ring.push(RingStep {
            record: row.clone(),
            rows: input.rows.iter().map(|row| *row as u64).collect(),
            random_state: serde_json::Value::Null,
        });
        record.push_step(row)?;
        if let Some(incident) = done.judgement.incident(input.step) {
            record.push_incident(&incident)?;
            self.dump(&incident, &done.model)?;
        }
        Ok(())
    }

    /// Writes what led to the first incident of a series that the guard acted on.
    fn dump(&mut self, incident: &Incident, model: &S::Model) -> Result<(), TrainError> {
        let acted = !matches!(incident.judgement.rung, Rung::Keep | Rung::Clip);
        let ring = RING.get() as u64;
        let same_series = self
            .state
            .last_dump
            .is_some_and(|last| incident.step < last + ring);
        let Some(record) = self.record.as_mut().filter(|_| acted && !same_series) else {
            return Ok(());
        };
        self.state.last_dump = Some(incident.step);
        let snapshot = self.attempts.optimizer.save(model)?;
        let incidents = std::slice::from_ref(incident);
        // At the limit of dumps nothing is written. The incidents themselves are still recorded.
        record.dump(&self.state.ring, incidents, Some(&snapshot))?;
        Ok(())
    }

    /// Writes a snapshot if the run is recorded. Non-finite weights, which an observing guard lets
    /// pass, are no state to go back to: none is written, and the last good one stays.
    fn write_snapshot(&mut self, model: &S::Model) -> Result<(), TrainError> {
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        let mut snapshot = self.attempts.optimizer.save(model)?;
        let state = serde_json::to_value(&self.state).map_err(unreadable_state)?;
        snapshot.state.insert(RUN.into(), state);
        match record.write_snapshot(&snapshot, NonFinite::Refuse) {
            Ok(_) | Err(SnapshotError::NonFinite { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl RunState {
    fn note<M>(&mut self, step: u64, done: &Attempt<M>) {
        let finite = done.loss.is_finite() && done.reading.gradients.non_finite() == 0;
        if !finite {
            self.first_non_finite.get_or_insert(step);
        }
        if !matches!(done.judgement.rung, Rung::Keep | Rung::Clip) {
            self.first_alarm.get_or_insert(step);
        }
        if let Some(to_step) = done.rolled_back_to {
            let at_step = step;
            self.rollbacks.push(Rollback { at_step, to_step });
        }
    }
}

fn read_state(snapshot: &Snapshot) -> Result<RunState, RestoreError> {
    let state = snapshot.state.get(RUN).cloned().unwrap_or_default();
    serde_json::from_value(state).map_err(unreadable_state)
}

fn unreadable_state(error: serde_json::Error) -> RestoreError {
    RestoreError::Value {
        name: RUN.into(),
        reason: error.to_string(),
    }
}

/// Checks that the folder holds the run that the study describes.
fn same_run(path: &Path, expected: &Manifest) -> Result<(), TrainError> {
    let found = read_manifest(path)?.value;
    let fields = |manifest: &Manifest| {
        [
            ("the subject", manifest.subject.clone()),
            ("the seed", manifest.seed.to_string()),
            ("as number of steps", manifest.steps.to_string()),
            ("the parameters", manifest.parameters.join(", ")),
        ]
    };
    for ((field, found), (_, expected)) in fields(&found).into_iter().zip(fields(expected)) {
        if found != expected {
            return Err(TrainError::OtherRun {
                field,
                found,
                expected,
            });
        }
    }
    Ok(())
}
