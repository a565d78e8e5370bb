//! Binds the race of remedies for a PyTorch model. The core lists, judges and prescribes; Python
//! runs the trials.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use steadygrad::Decision;
use steadygrad::clip::{GlobalNormClip, Policy};
use steadygrad::cure::unstable::{Start, TrialEnd, TrialRecorder, contenders};
use steadygrad::cure::{
    CureReport as Report, End, Goal, Outcome as Core, RankedTrial, SeedOutcome, Trial as Candidate,
    Verification, prescribe, ranking, winner,
};
use steadygrad::diagnose::{Finding, ModelCase, diagnose};
use steadygrad::guard::{Guard, GuardConfig, Response};
use steadygrad::remedy::Family;
use steadygrad_record::{RunDir, RunStatus};

use crate::guard::{begin, keep, value_error};
use crate::probe::{Case, Measured, case, worded};
use crate::stats::GradientStats;

/// The outcome of one trial.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct Outcome(Core);

#[pymethods]
impl Outcome {
    /// Whether the trial finished without diverging.
    #[getter]
    fn survived(&self) -> bool {
        self.0.verdict.survived()
    }

    /// Returns a short name of the verdict.
    #[getter]
    fn verdict(&self) -> &'static str {
        self.0.verdict.name()
    }

    #[getter]
    fn validation_metric(&self) -> f64 {
        self.0.validation_metric
    }

    /// Returns a copy with this stability margin.
    fn with_margin(&self, margin: f64) -> Self {
        Self(Core {
            stability_margin: Some(margin),
            ..self.0.clone()
        })
    }
}

/// One run, judged step by step. The baseline is only observed. A run with a remedy stops at the
/// first non-finite value.
#[pyclass(module = "steadygrad._native")]
pub(crate) struct Trial {
    guard: Guard,
    recorder: TrialRecorder,
    run: Option<RunDir>,
    end: End,
}

#[pymethods]
impl Trial {
    #[new]
    fn new(
        observe: bool,
        max_norm: Option<f64>,
        folder: Option<PathBuf>,
        name: String,
        parameters: Vec<String>,
    ) -> PyResult<Self> {
        let response = if observe {
            Response::Observe
        } else {
            Response::Stop
        };
        let mut config = GuardConfig::default().with_response(response);
        config.clip = max_norm.map(|max_norm| Policy::from(GlobalNormClip::new(max_norm)));
        let run = folder.map(|folder| begin(folder, name, parameters));
        Ok(Self {
            guard: Guard::new(config).map_err(value_error)?,
            recorder: TrialRecorder::default(),
            run: run.transpose()?,
            end: End::Completed,
        })
    }

    /// Judges one step. Returns whether to apply it, the factor for the gradients, and whether the
    /// trial ends here.
    fn step(
        &mut self,
        py: Python<'_>,
        step: u64,
        loss: f64,
        learning_rate: f64,
        stats: &GradientStats,
        weight_norms: Vec<f64>,
    ) -> PyResult<(bool, f64, bool)> {
        let reading = stats.reading(py, step, loss, learning_rate, weight_norms)?;
        let judged = self.guard.step(&reading);
        if let Some(run) = &mut self.run {
            let whole = run.manifest().parameters.len() == reading.gradients.tensors.len();
            keep(run, &reading, &judged, whole)?;
        }
        let coefficient = match &judged.decision {
            Decision::ScaleGlobal { coefficient } => *coefficient,
            _ => 1.0,
        };
        let ended = self.recorder.step(&reading, &judged);
        let ends = ended.is_some();
        self.end = ended.unwrap_or(End::Completed);
        Ok((judged.decision.applies(), coefficient, ends))
    }

    /// Whether the trial has not failed so far. Only then can the model be validated.
    #[getter]
    fn completed(&self) -> bool {
        self.end == End::Completed
    }

    /// Ends the record and returns the outcome of the trial.
    fn finish(
        &mut self,
        validation_metric: f64,
        goal: f64,
        trivial: f64,
        work: f64,
        seconds: f64,
    ) -> PyResult<Outcome> {
        if let Some(run) = self.run.take() {
            run.finish(RunStatus::Ended)
                .map_err(|error| PyOSError::new_err(error.to_string()))?;
        }
        let at = TrialEnd {
            validation_metric,
            goal: Goal {
                metric: goal,
                trivial,
            },
            work,
            seconds,
        };
        let recorder = std::mem::take(&mut self.recorder);
        Ok(Outcome(recorder.finish(self.end.clone(), at)))
    }
}

/// The training task, in addition to the measurements of `probe`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Task {
    metric: String,
    goal: f64,
    trivial: f64,
    training_samples: usize,
    validation_samples: usize,
    optimizer: String,
    learning_rate: f64,
    momentum: f64,
    steps: u64,
}

/// One cure, from the measurements to the prescription.
#[pyclass(module = "steadygrad._native")]
pub(crate) struct Cure {
    case: Case,
    optimizer: String,
    steps: u64,
    baseline: Option<Core>,
    findings: Vec<Finding>,
    trials: Vec<Candidate>,
    ranking: Vec<RankedTrial>,
    verification: Vec<Verification>,
}

/// The trial's name, the name of its folder, and its remedy as JSON.
type Listed = (String, String, Option<String>);

#[pymethods]
impl Cure {
    #[new]
    fn new(measured: Measured, task: Task) -> PyResult<Self> {
        let mut case = case(measured)?;
        case.setup.learning_rate = task.learning_rate;
        case.setup.momentum = task.momentum;
        if task.optimizer != "sgd" {
            // The stability limit from the sharpness holds for SGD only.
            case.measurements.sharpness = None;
        }
        case.subject.metric = task.metric;
        case.subject.goal = Goal {
            metric: task.goal,
            trivial: task.trivial,
        };
        case.subject.training_samples = task.training_samples;
        case.subject.validation_samples = task.validation_samples;
        Ok(Self {
            case,
            optimizer: task.optimizer,
            steps: task.steps,
            baseline: None,
            findings: Vec::new(),
            trials: Vec::new(),
            ranking: Vec::new(),
            verification: Vec::new(),
        })
    }

    /// Diagnoses the baseline and lists the trials to run. `draws` holds pairs of uniform numbers
    /// for the blind control. `can` names the remedies that the control may use. If no pair selects
    /// one of them, the control is a clip.
    fn race(
        &mut self,
        baseline: &Outcome,
        draws: Vec<(f64, f64)>,
        can: Vec<String>,
    ) -> PyResult<Vec<Listed>> {
        let start = Start {
            measurements: &self.case.measurements,
            setup: &self.case.setup,
            baseline: &baseline.0,
            optimizer: &self.optimizer,
            plain_layers: self.case.plain,
        };
        let mut draws = draws.into_iter();
        self.trials = start.trials(
            || {
                draws
                    .next()
                    .map_or([0.0, 0.5], |(pick, value)| [pick, value])
            },
            |remedy| {
                remedy.family() == Family::Clip || can.iter().any(|name| name == remedy.name())
            },
        );
        self.findings = diagnose(
            &ModelCase::new(&self.case.measurements, &self.case.setup)
                .with_detections(&baseline.0.detections),
        );
        self.baseline = Some(baseline.0.clone());
        self.trials.iter().map(listed).collect()
    }

    /// Marks a trial that cannot run on this model.
    fn refuse(&mut self, name: &str, why: &str) -> PyResult<()> {
        not_tried(find(&mut self.trials, name)?, why);
        Ok(())
    }

    /// Stores the outcome of a trial.
    fn ran(&mut self, name: &str, outcome: &Outcome) -> PyResult<()> {
        find(&mut self.trials, name)?.outcome = Some(outcome.0.clone());
        Ok(())
    }

    /// Ranks the trials and lists those to repeat on fresh seeds: the winner, the baseline and the
    /// controls. The list is empty without a winner.
    fn contenders(&mut self) -> PyResult<Vec<Listed>> {
        let subject = &self.case.subject;
        self.ranking = ranking(&self.trials, &subject.metric, subject.validation_samples);
        let Some(winner) = winner(&self.trials, &self.ranking) else {
            return Ok(Vec::new());
        };
        contenders(winner, &Candidate::baseline(None), &self.trials)
            .into_iter()
            .map(listed)
            .collect()
    }

    /// Stores the outcomes of a trial on fresh seeds.
    fn verified(&mut self, name: String, seeds: Vec<(u64, PyRef<'_, Outcome>)>) {
        let seeds = seeds.into_iter().map(|(seed, outcome)| SeedOutcome {
            seed,
            outcome: outcome.0.clone(),
        });
        self.verification
            .push(Verification::new(name, seeds.collect()));
    }

    /// Builds the report. `changes` maps each trial's name to a description of its changes to the
    /// model.
    fn report(
        &self,
        interrupted: bool,
        seconds: f64,
        changes: HashMap<String, String>,
    ) -> CureReport {
        let prescription = winner(&self.trials, &self.ranking)
            .filter(|_| !interrupted)
            .and_then(|winner| prescribe(winner, &self.verification, |_| None));
        let prescription = prescription.map(|prescription| {
            let changed = changes.get(&prescription.trial).cloned();
            prescription.for_pytorch(&changed.unwrap_or_default())
        });
        let mut trials = vec![Candidate::baseline(self.baseline.clone())];
        trials.extend(self.trials.iter().cloned());
        CureReport(Report {
            version: env!("CARGO_PKG_VERSION").into(),
            subject: self.case.subject.clone(),
            seed: self.case.seed,
            steps: self.steps,
            batch_size: self.case.batch_size,
            setup: self.case.setup,
            study: None,
            measurements: self.case.measurements.clone(),
            findings: self.findings.clone(),
            trials,
            ranking: self.ranking.clone(),
            verification: self.verification.clone(),
            prescription,
            interrupted,
            seconds,
        })
    }
}

fn not_tried(trial: &mut Candidate, why: &str) {
    trial.remedy = None;
    trial.derivation = None;
    trial.not_tried = Some(why.to_owned());
}

fn listed(trial: &Candidate) -> PyResult<Listed> {
    let remedy = trial.remedy.as_ref().map(serde_json::to_string);
    let remedy = remedy.transpose().map_err(value_error)?;
    Ok((trial.name.clone(), trial.folder_name(), remedy))
}

fn find<'a>(trials: &'a mut [Candidate], name: &str) -> PyResult<&'a mut Candidate> {
    let mut trials = trials.iter_mut();
    trials
        .find(|trial| trial.name == name)
        .ok_or_else(|| PyValueError::new_err(format!("there is no trial `{name}`")))
}

/// The report of a cure, as `steadygrad cure` shows it.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct CureReport(Report);

#[pymethods]
impl CureReport {
    /// Returns the report as JSON, with every number.
    fn json(&self) -> PyResult<String> {
        steadygrad_report::json::cure(&self.0).map_err(value_error)
    }

    /// Returns the report for a terminal, with or without ANSI styles.
    fn text(&self, styled: bool) -> String {
        worded(steadygrad_report::terminal::cure(&self.0), styled)
    }

    /// Returns the report as one HTML page.
    fn html(&self) -> String {
        steadygrad_report::html::cure(&self.0)
    }
}
