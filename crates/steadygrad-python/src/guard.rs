//! The core's guard, fed with the statistics of PyTorch's gradients. It judges and does not act.

use std::path::PathBuf;
use std::str::FromStr;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use steadygrad::clip::Policy;
use steadygrad::guard::{Guard as Core, GuardConfig, Judgement as Judged, Preset};
use steadygrad::{Decision, StepReading};
use steadygrad_record::{
    FORMAT, FolderLock as Lock, Manifest, RunDir, RunStatus, StepRecord, read_manifest,
};

use crate::stats::GradientStats;

/// The guard's judgement of one step.
#[pyclass(frozen, get_all, module = "steadygrad._native")]
pub(crate) struct Judgement {
    /// The decision's name.
    decision: &'static str,
    /// Whether the optimizer may step.
    applies: bool,
    /// The factor for every gradient before the step.
    coefficient: f64,
    /// Why the step is not applied.
    reason: Option<String>,
    /// The step whose snapshot must be restored.
    to_step: Option<u64>,
    /// The factor of the learning rate, from this step on.
    learning_rate_scale: f64,
    /// The detections, in words.
    detections: Vec<String>,
}

impl Judgement {
    fn new(judged: &Judged) -> Self {
        let decision = &judged.decision;
        Self {
            decision: decision.name(),
            applies: decision.applies(),
            coefficient: match decision {
                Decision::ScaleGlobal { coefficient } => *coefficient,
                _ => 1.0,
            },
            reason: decision.reason().map(str::to_owned),
            to_step: match decision {
                Decision::Rollback { to_step, .. } => Some(*to_step),
                _ => None,
            },
            learning_rate_scale: judged.learning_rate_scale,
            detections: judged
                .detections
                .iter()
                .map(|seen| seen.message.clone())
                .collect(),
        }
    }
}

/// Bounds within which the next reading will be kept as it is.
#[pyclass(frozen, get_all, module = "steadygrad._native")]
pub(crate) struct Quiet {
    global_norm: f64,
    loss: f64,
    least_weight_norm: f64,
    weight_norm: f64,
    weight_rise: f64,
}

/// A guard with its running state, and the run directory that it keeps.
#[pyclass(module = "steadygrad._native")]
pub(crate) struct Guard {
    core: Core,
    record: Record,
}

/// Where steps are recorded.
enum Record {
    Nowhere,
    /// The folder of an earlier run, which `load` continues.
    Earlier(PathBuf),
    Open {
        run: Box<RunDir>,
        /// The step after the last recorded one.
        next_step: u64,
    },
}

fn os_error(error: impl ToString) -> PyErr {
    PyOSError::new_err(error.to_string())
}

/// A lock on a folder, held as long as this object lives.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct FolderLock(#[allow(dead_code, reason = "held, and let go when dropped")] Lock);

#[pymethods]
impl FolderLock {
    #[new]
    fn new(folder: PathBuf, name: &str) -> PyResult<Self> {
        Lock::acquire(&folder, name).map(Self).map_err(os_error)
    }
}

pub(crate) fn value_error(error: impl ToString) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl Guard {
    /// Makes a guard from a preset's name, the user's own clipping as JSON, and the sensitivity.
    #[new]
    fn new(preset: &str, clip: Option<&str>, sensitivity: Option<f64>) -> PyResult<Self> {
        let mut config: GuardConfig = Preset::from_str(preset).map_err(value_error)?.into();
        if let Some(clip) = clip {
            let policy: Policy = serde_json::from_str(clip).map_err(value_error)?;
            config = config.with_clip(policy);
        }
        if let Some(sensitivity) = sensitivity {
            config = config.with_sensitivity(sensitivity).map_err(value_error)?;
        }
        let core = Core::new(config).map_err(value_error)?;
        Ok(Self {
            core,
            record: Record::Nowhere,
        })
    }

    /// Begins a run directory, or finds an earlier run of these parameters, which `load` continues.
    fn record(&mut self, folder: PathBuf, name: String, parameters: Vec<String>) -> PyResult<()> {
        self.record = match read_manifest(&folder) {
            Ok(earlier) if earlier.value.parameters == parameters => Record::Earlier(folder),
            Ok(_) => {
                return Err(os_error(format!(
                    "`{}` is the record of a model with other parameters; name a new folder",
                    folder.display()
                )));
            }
            Err(_) => Record::Open {
                run: Box::new(begin(folder, name, parameters)?),
                next_step: 0,
            },
        };
        Ok(())
    }

    /// Judges one step and records it. `whole` means that every trained parameter has a gradient.
    #[expect(clippy::too_many_arguments, reason = "what was measured of one step")]
    fn step(
        &mut self,
        py: Python<'_>,
        step: u64,
        loss: f64,
        learning_rate: f64,
        stats: &GradientStats,
        weight_norms: Vec<f64>,
        whole: bool,
    ) -> PyResult<Judgement> {
        if let Record::Earlier(folder) = &self.record {
            return Err(os_error(format!(
                "`{}` is the record of an earlier run; to continue it, give `load_state_dict` \
                 what its checkpoint holds; for a new run, name a new folder",
                folder.display()
            )));
        }
        let reading = stats.reading(py, step, loss, learning_rate, weight_norms)?;
        let judged = self.core.step(&reading);
        if let Record::Open { run, next_step } = &mut self.record {
            keep(run, &reading, &judged, whole)?;
            *next_step = step + 1;
        }
        Ok(Judgement::new(&judged))
    }

    /// The bounds within which `step` will keep a reading at this learning rate.
    fn quiet(&self, learning_rate: f64) -> Option<Quiet> {
        // An earlier run's record refuses the step.
        let refuses = matches!(self.record, Record::Earlier(_));
        let quiet = self.core.quiet(learning_rate).filter(|_| !refuses)?;
        Some(Quiet {
            global_norm: quiet.global_norm,
            loss: quiet.loss,
            least_weight_norm: quiet.least_weight_norm,
            weight_norm: quiet.weight_norm,
            weight_rise: quiet.weight_rise,
        })
    }

    /// Whether a snapshot should be taken now, before this step.
    fn wants_snapshot(&self, step: u64) -> bool {
        self.core.wants_snapshot(step)
    }

    fn snapshot_taken(&mut self, step: u64) {
        self.core.snapshot_taken(step);
    }

    /// The steps whose snapshots may still be needed.
    fn snapshots(&self) -> Vec<u64> {
        self.core.snapshots().collect()
    }

    /// Whether the state that a rollback leaves should be kept as well.
    fn wants_abandoned(&self) -> bool {
        self.core.wants_abandoned()
    }

    fn rolled_back(&mut self, step: u64) {
        self.core.rolled_back(step);
    }

    /// Like the above; the state that was left is kept as that of step `left`.
    fn rolled_back_from(&mut self, left: u64, step: u64) {
        self.core.rolled_back_from(left, step);
    }

    /// A snapshot cannot be restored. Returns the judgement to act on instead.
    fn rollback_failed(&mut self, step: u64, why: &str) -> Judgement {
        Judgement::new(&self.core.rollback_failed(step, why))
    }

    /// The step whose snapshot a stopped run should end with.
    fn last_good(&self) -> Option<u64> {
        self.core.last_good()
    }

    /// Syncs all rows up to here.
    fn sync(&mut self) -> PyResult<()> {
        match &mut self.record {
            Record::Open { run, .. } => run.sync().map_err(os_error),
            Record::Nowhere | Record::Earlier(_) => Ok(()),
        }
    }

    /// Settings and state as JSON. Also syncs all rows up to here.
    fn save(&mut self) -> PyResult<String> {
        self.sync()?;
        serde_json::to_string(&self.core).map_err(value_error)
    }

    /// Continues from what `save` gave, before this step, also in the record. Returns the record's
    /// damage.
    fn load(&mut self, saved: &str, step: u64) -> PyResult<Vec<String>> {
        let core: Core = serde_json::from_str(saved).map_err(value_error)?;
        if core.config() != self.core.config() {
            return Err(value_error(
                "the saved state is of a guard with other settings; make the Guard with the \
                 preset that it was saved with",
            ));
        }
        let damage = self.resume_record(step)?;
        self.core = core;
        // The saved guard's snapshots no longer exist.
        self.core.forget_snapshots();
        Ok(damage)
    }

    /// What the guard has done, by name.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let summary = self.core.summary();
        vec![
            ("kept", summary.kept),
            ("clipped", summary.clipped + summary.clipped_by_policy),
            ("skipped", summary.skipped),
            ("lowered", summary.lowered),
            ("rolled_back", summary.rolled_back),
        ]
    }

    /// Ends the run directory, if there is one.
    fn finish(&mut self) -> PyResult<()> {
        match std::mem::replace(&mut self.record, Record::Nowhere) {
            Record::Open { run, .. } => run.finish(RunStatus::Ended).map_err(os_error),
            Record::Nowhere | Record::Earlier(_) => Ok(()),
        }
    }
}

impl Guard {
    /// The following rows replace those from this step on.
    fn resume_record(&mut self, step: u64) -> PyResult<Vec<String>> {
        let folder = match &self.record {
            Record::Nowhere => return Ok(Vec::new()),
            Record::Open { next_step, .. } if *next_step <= step => return Ok(Vec::new()),
            Record::Open { run, .. } => run.path().to_owned(),
            Record::Earlier(folder) => folder.clone(),
        };
        // Releases the folder.
        self.finish()?;
        let resumed = RunDir::resume(&folder, step).map_err(os_error)?;
        self.record = Record::Open {
            run: Box::new(resumed.value),
            next_step: step,
        };
        let problems = resumed.problems.iter();
        Ok(problems.map(ToString::to_string).collect())
    }
}

/// Begins a run directory, which must be new or empty.
pub(crate) fn begin(folder: PathBuf, name: String, parameters: Vec<String>) -> PyResult<RunDir> {
    let manifest = Manifest {
        format: FORMAT,
        name,
        subject: "PyTorch".into(),
        seed: 0,
        steps: 0,
        parameters,
        status: RunStatus::Running,
    };
    RunDir::create(&folder, manifest).map_err(os_error)
}

/// Records one step with its detections and decision. `whole` means that every trained parameter
/// has a gradient.
pub(crate) fn keep(
    run: &mut RunDir,
    reading: &StepReading,
    judged: &Judged,
    whole: bool,
) -> PyResult<()> {
    // Parameters without a gradient have a column but no norm. Both are in the model's order.
    let mut tensors = reading.gradients.tensors.iter().peekable();
    let names = run.manifest().parameters.iter();
    let norms = names.map(|name| {
        let held = tensors.next_if(|tensor| tensor.name == *name);
        held.map_or(0.0, |tensor| tensor.stats.tensor_norm)
    });
    let tensor_norms = norms.collect();
    let row = StepRecord::new(reading, &judged.decision);
    // Without all parameters this would not be the norm of the weights.
    let weight_norm = row.weight_norm.filter(|_| whole);
    let row = StepRecord {
        learning_rate_scale: judged.learning_rate_scale,
        tensor_norms,
        weight_norm,
        ..row
    };
    let pushed = run
        .push_step(row)
        .and_then(|()| match judged.incident(reading.step) {
            Some(incident) => run.push_incident(&incident),
            None => Ok(()),
        });
    pushed.map_err(os_error)
}
