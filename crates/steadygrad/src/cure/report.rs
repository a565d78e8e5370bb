use serde::{Deserialize, Serialize};

use super::prescription::Prescription;
use super::rank::RankedTrial;
use super::trial::{Trial, TrialKind};
use super::verification::Verification;
use crate::diagnose::Finding;
use crate::float;
use crate::measurements::{Measurements, TrainingSetup};
use crate::outcome::{Goal, Outcome};

/// The model and its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectSummary {
    /// The subject's name, for example `digits-mlp`.
    pub name: String,
    /// One line about data and model, for a human reader.
    pub description: String,
    /// The name of the validation metric, for example `accuracy`. Larger is better.
    pub metric: String,
    /// The metric that counts as solved, and the metric of the trivial predictor.
    pub goal: Goal,
    /// Number of training samples.
    pub training_samples: usize,
    /// Number of validation samples.
    pub validation_samples: usize,
    /// Number of trainable values.
    pub parameters: usize,
}

/// All results of `cure`: the data of the terminal report and of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CureReport {
    /// Version of steadygrad.
    pub version: String,
    /// The model and its data.
    pub subject: SubjectSummary,
    /// Seed of the trials. The fresh seeds are the ones after it.
    pub seed: u64,
    /// Optimizer steps of each trial.
    pub steps: u64,
    /// Samples per step.
    pub batch_size: usize,
    /// The baseline's learning rate, momentum, depth.
    pub setup: TrainingSetup,
    /// The study as TOML. `None` for a subject from the user's own code.
    pub study: Option<String>,
    /// The measurements before training.
    pub measurements: Measurements,
    /// The faults of the baseline, root cause first.
    pub findings: Vec<Finding>,
    /// The baseline, the remedies by family, the controls.
    pub trials: Vec<Trial>,
    /// Remedies and controls, best first.
    pub ranking: Vec<RankedTrial>,
    /// The winner, the baseline and the controls on fresh seeds, the winner first.
    pub verification: Vec<Verification>,
    /// The change to make. `None` if no remedy cured, if fresh seeds did not confirm the winner, or
    /// if the job was interrupted.
    pub prescription: Option<Prescription>,
    /// Whether a person stopped the job. Missing trials were then not run.
    pub interrupted: bool,
    /// Wall-clock time of the whole job.
    #[serde(with = "float")]
    pub seconds: f64,
}

impl CureReport {
    /// Returns the baseline's outcome, once it has run.
    pub fn baseline(&self) -> Option<&Outcome> {
        self.trials
            .iter()
            .find(|trial| trial.kind == TrialKind::Baseline)?
            .outcome
            .as_ref()
    }

    /// Returns the trial of this name.
    pub fn trial(&self, name: &str) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.name == name)
    }
}
