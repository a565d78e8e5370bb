//! A guarded run: one that nobody watches, that can be killed at any moment and gone on with.

mod attempts;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use steadygrad::guard::{GuardConfigError, GuardSummary, Incident};
use steadygrad::recover::Rung;
use steadygrad::{Decision, GuardConfig};
use steadygrad_burn::{GuardedOptimizer, RestoreError};
use steadygrad_record::{
    ForensicRing, Manifest, NonFinite, Problem, RecordError, RingStep, RunDir, RunStatus,
    SnapshotError, SnapshotStore, StepRecord, read_manifest, write_atomic,
};

use crate::faults::{FaultError, Faults};
use crate::manifest::manifest;
use crate::{Control, Plan, StepProgress, Subject};

pub(crate) use attempts::{Attempt, Attempts, Drawn};

/// A snapshot is written at the earliest so many steps after the last one: what a killed run loses
/// at most, where writing is cheap.
const SNAPSHOT_STEPS: u64 = 100;

/// Writing snapshots may take this share of the run's time: half of the 3 % that a guard may cost
/// in all. Where it is dear, they are written more seldom.
const SNAPSHOT_SHARE: f64 = 0.01;

/// What the first one is expected to take: a few files, synced, on an ordinary disk. A run of less
/// than half a second has none before its end.
const FIRST_SNAPSHOT: Duration = Duration::from_millis(5);

/// Steps that the forensic ring holds: more than lie between two of the guard's own snapshots, so
/// that one of them is from within the ring.
const RING: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What a snapshot holds beside the optimizer's own.
const RUN: &str = "run";

/// How a run is guarded and recorded.
#[derive(Debug, Clone)]
pub struct TrainOptions<'a> {
    /// Its name in the record and for [`crate::Progress`].
    pub name: &'a str,
    /// The guard's settings. A resumed run has those that it was started with.
    pub guard: GuardConfig,
    /// What is to go wrong.
    pub faults: &'a Faults,
    /// The run directory; `None` keeps no record.
    pub run_dir: Option<&'a Path>,
    /// Goes on with the run in `run_dir` in place of starting one.
    pub resume: bool,
    /// Files to put beside the record of a new run: their names and texts.
    pub notes: &'a [(&'a str, String)],
}

/// Why a run could not be started, gone on with or recorded. A training that fails is no error.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The run directory.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A snapshot could not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A snapshot does not fit.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The faults.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The guard's settings.
    #[error(transparent)]
    Guard(#[from] GuardConfigError),
    /// The run to go on with is another one.
    #[error(
        "the run in the folder has {field} {found}, the study {expected}; resume it with the study that it was started with"
    )]
    OtherRun {
        /// What differs.
        field: &'static str,
        /// In the run directory.
        found: String,
        /// In the study.
        expected: String,
    },
    /// There is nothing to resume in.
    #[error("a run is resumed in its folder; name the folder")]
    NoFolder,
}

/// How a guarded run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TrainEnd {
    /// All steps done.
    Completed,
    /// The guard gave up, with this reason; no bad update was applied.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A person stopped it.
    Interrupted,
}

/// One return to an earlier state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The step that was not applied.
    pub at_step: u64,
    /// The step whose state was restored.
    pub to_step: u64,
}

/// What became of a guarded run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// How it ended.
    pub end: TrainEnd,
    /// Steps that were tried: batches drawn.
    pub steps: u64,
    /// Validation metric of the last model; NaN when its predictions are not finite.
    #[serde(with = "steadygrad::float")]
    pub validation_metric: f64,
    /// What the guard did.
    pub guard: GuardSummary,
    /// Every return to an earlier state.
    pub rollbacks: Vec<Rollback>,
    /// The first step at which anything harmful was seen.
    pub first_alarm: Option<u64>,
    /// The first step whose loss or gradient was not finite.
    pub first_non_finite: Option<u64>,
    /// The step that a resumed run went on from.
    pub resumed_at: Option<u64>,
    /// Wall-clock time of this process's part, without the validation.
    #[serde(with = "steadygrad::float")]
    pub seconds: f64,
    /// Of it, what writing snapshots took.
    #[serde(with = "steadygrad::float")]
    pub snapshot_seconds: f64,
}

/// The part of the running state that is this module's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Running {
    rollbacks: Vec<Rollback>,
    first_alarm: Option<u64>,
    first_non_finite: Option<u64>,
    ring: ForensicRing,
    last_dump: Option<u64>,
}

/// Trains a subject by its plan under a guard: nothing lost, nothing silent.
///
/// Steps are attempts: each draws the next batch, and one that is skipped or rolled back has used
/// its batch up. The learning rate's schedule goes by attempts as well. A resumed run continues to
/// the bit as if it had never stopped.
///
/// Returns, beside the outcome, what was damaged in the folder of a resumed run.
///
/// # Errors
/// [`TrainError`]: a disk that is full or forbids, a folder that holds another run, settings that
/// cannot be used. What was recorded before stays.
pub fn train<S: Subject>(
    subject: &S,
    plan: &Plan,
    options: &TrainOptions<'_>,
    device: &Device,
    control: Control<'_>,
) -> Result<(Trained, Vec<Problem>), TrainError> {
    control.progress.started(options.name, plan.steps);
    let (mut attempts, mut model) =
        Attempts::start(subject, plan, &options.guard, options.faults, device)?;
    let mut running = Running {
        ring: ForensicRing::new(RING),
        ..Running::default()
    };
    let mut problems = Vec::new();
    let mut resumed_at = None;
    let mut record = None;
    match (options.run_dir, options.resume) {
        (None, true) => return Err(TrainError::NoFolder),
        (None, false) => (),
        (Some(path), false) => {
            let manifest = manifest(subject, plan, options.name, &model);
            record = Some(RunDir::create(path, manifest)?);
            for (name, text) in options.notes {
                write_atomic(&path.join(name), text.as_bytes())?;
            }
        }
        (Some(path), true) => {
            same_run(path, &manifest(subject, plan, options.name, &model))?;
            let found = SnapshotStore::new(path).newest_good(None)?;
            problems.extend(found.problems);
            // Without one it begins again.
            if let Some(snapshot) = found.value {
                (attempts, model) = attempts.restore(model, &snapshot)?;
                let state = snapshot.state.get(RUN).cloned().unwrap_or_default();
                running = serde_json::from_value(state).map_err(|error| RestoreError::Value {
                    name: RUN.into(),
                    reason: error.to_string(),
                })?;
            }
            resumed_at = Some(attempts.next_step());
            let opened = RunDir::resume(path, attempts.next_step())?;
            problems.extend(opened.problems);
            record = Some(opened.value);
        }
    }

    let mut end = TrainEnd::Completed;
    let begin = Instant::now();
    let mut pace = Pace::new(attempts.next_step());
    while attempts.next_step() < plan.steps {
        if control.is_cancelled() {
            end = TrainEnd::Interrupted;
            break;
        }
        let step = attempts.next_step();
        if let Some(record) = record.as_mut().filter(|_| pace.is_due(step)) {
            let writing = Instant::now();
            write_snapshot(record, &attempts.optimizer, &model, &running)?;
            pace.written(step, writing.elapsed());
        }
        let drawn = attempts.draw();
        let done = attempts.make(&drawn, model)?;
        model = done.model;
        let judgement = done.judgement;
        let finite = done.loss.is_finite() && done.reading.gradients.non_finite() == 0;
        if !finite {
            running.first_non_finite.get_or_insert(step);
        }
        if judgement.rung != Rung::Keep && judgement.rung != Rung::Clip {
            running.first_alarm.get_or_insert(step);
        }
        if let Some(to_step) = done.rolled_back_to {
            let at_step = step;
            running.rollbacks.push(Rollback { at_step, to_step });
        }
        let row = StepRecord {
            learning_rate_scale: judgement.learning_rate_scale,
            update_norm: done.update_norm,
            batch: Some(step),
            ..StepRecord::new(&done.reading, &judgement.decision)
        };
        control.progress.stepped(
            options.name,
            StepProgress {
                step,
                loss: done.loss,
                grad_norm: row.grad_norm,
                guard: attempts.optimizer.guard().summary(),
            },
        );
        if let Some(record) = &mut record {
            running.ring.push(RingStep {
                record: row.clone(),
                rows: drawn.rows.iter().map(|row| *row as u64).collect(),
                random_state: serde_json::Value::Null,
            });
            record.push_step(row)?;
            if let Some(incident) = judgement.incident(step) {
                record.push_incident(&incident)?;
                dump(record, &mut running, &incident, &attempts.optimizer, &model)?;
            }
        }
        if let Decision::Stop { reason } = judgement.decision {
            end = TrainEnd::Stopped { reason };
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    if let Some(mut record) = record {
        write_snapshot(&mut record, &attempts.optimizer, &model, &running)?;
        record.finish(match end {
            TrainEnd::Interrupted => RunStatus::Interrupted,
            TrainEnd::Completed | TrainEnd::Stopped { .. } => RunStatus::Ended,
        })?;
    }
    let trained = Trained {
        end,
        steps: attempts.next_step(),
        validation_metric: subject.validate(&model),
        guard: attempts.optimizer.guard().summary().clone(),
        rollbacks: running.rollbacks,
        first_alarm: running.first_alarm,
        first_non_finite: running.first_non_finite,
        resumed_at,
        seconds,
        snapshot_seconds: pace.spent.as_secs_f64(),
    };
    Ok((trained, problems))
}

/// When a snapshot is due: by steps, and by what the last one took.
struct Pace {
    last_step: u64,
    last_time: Instant,
    took: Duration,
    spent: Duration,
}

impl Pace {
    fn new(step: u64) -> Self {
        Self {
            last_step: step,
            last_time: Instant::now(),
            took: FIRST_SNAPSHOT,
            spent: Duration::ZERO,
        }
    }

    fn is_due(&self, step: u64) -> bool {
        step >= self.last_step + SNAPSHOT_STEPS
            && self.last_time.elapsed().as_secs_f64() * SNAPSHOT_SHARE >= self.took.as_secs_f64()
    }

    fn written(&mut self, step: u64, took: Duration) {
        self.last_step = step;
        self.last_time = Instant::now();
        self.took = took;
        self.spent += took;
    }
}

/// Weights that an observing guard has let go bad are no state to go back to: then none is
/// written, and the last good one stays.
fn write_snapshot<M: burn::module::Module>(
    record: &mut RunDir,
    optimizer: &GuardedOptimizer<M>,
    model: &M,
    running: &Running,
) -> Result<(), TrainError> {
    let mut snapshot = optimizer.save(model)?;
    let state = serde_json::to_value(running).map_err(|error| RestoreError::Value {
        name: RUN.into(),
        reason: error.to_string(),
    })?;
    snapshot.state.insert(RUN.into(), state);
    match record.write_snapshot(&snapshot, NonFinite::Refuse) {
        Ok(_) | Err(SnapshotError::NonFinite { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes what led to the first incident of a series that the guard acted on.
fn dump<M: burn::module::Module>(
    record: &mut RunDir,
    running: &mut Running,
    incident: &Incident,
    optimizer: &GuardedOptimizer<M>,
    model: &M,
) -> Result<(), TrainError> {
    let acted = !matches!(incident.judgement.rung, Rung::Keep | Rung::Clip);
    let ring = RING.get() as u64;
    let same_series = running
        .last_dump
        .is_some_and(|last| incident.step < last + ring);
    if !acted || same_series {
        return Ok(());
    }
    running.last_dump = Some(incident.step);
    let state = optimizer.save(model)?;
    // Beyond the limit of dumps none is written: the incidents themselves go on being recorded.
    record.dump(&running.ring, std::slice::from_ref(incident), Some(&state))?;
    Ok(())
}

/// That the folder holds the run that the study describes.
fn same_run(path: &Path, expected: &Manifest) -> Result<(), TrainError> {
    let found = read_manifest(path)?.value;
    let fields = [
        ("the subject", &found.subject, &expected.subject),
        (
            "the seed",
            &found.seed.to_string(),
            &expected.seed.to_string(),
        ),
        (
            "as number of steps",
            &found.steps.to_string(),
            &expected.steps.to_string(),
        ),
        (
            "the parameters",
            &found.parameters.join(", "),
            &expected.parameters.join(", "),
        ),
    ];
    match fields
        .into_iter()
        .find(|(_, found, expected)| found != expected)
    {
        None => Ok(()),
        Some((field, found, expected)) => Err(TrainError::OtherRun {
            field,
            found: found.clone(),
            expected: expected.clone(),
        }),
    }
}
