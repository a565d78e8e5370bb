use serde::{Deserialize, Serialize};

use super::prescription::Prescription;
use super::rank::RankedTrial;
use super::trial::{Trial, TrialKind};
use super::verification::Verification;
use crate::diagnose::Finding;
use crate::float;
use crate::measurements::{Measurements, TrainingSetup};
use crate::outcome::{Goal, Outcome};

/// What is being trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectSummary {
    /// Its name, for example `digits-mlp`.
    pub name: String,
    /// One line about data and model, for a person.
    pub description: String,
    /// What the validation metric is, for example `accuracy`. Larger is better.
    pub metric: String,
    /// When it counts as solved, beside the trivial predictor.
    pub goal: Goal,
    /// Number of training samples.
    pub training_samples: usize,
    /// Number of validation samples.
    pub validation_samples: usize,
    /// Number of trainable values.
    pub parameters: usize,
}

/// Everything `cure` found: what a person sees, and what `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CureReport {
    /// Version of steadygrad.
    pub version: String,
    /// What is being trained.
    pub subject: SubjectSummary,
    /// Seed of the trials; the fresh seeds follow it.
    pub seed: u64,
    /// Optimizer steps of each trial.
    pub steps: u64,
    /// Samples a step.
    pub batch_size: usize,
    /// The baseline's learning rate, momentum, depth.
    pub setup: TrainingSetup,
    /// The study as TOML, when there is one (a subject from the user's own code has none).
    pub study: Option<String>,
    /// Measured before training.
    pub measurements: Measurements,
    /// What is wrong with the baseline, root cause first.
    pub findings: Vec<Finding>,
    /// The baseline, the remedies by family, the controls.
    pub trials: Vec<Trial>,
    /// Remedies and controls, best first.
    pub ranking: Vec<RankedTrial>,
    /// The winner and the controls on fresh seeds, the winner first.
    pub verification: Vec<Verification>,
    /// What to change. `None` when no remedy cured, when most fresh seeds did not confirm the best,
    /// or when the job was interrupted.
    pub prescription: Option<Prescription>,
    /// Whether a person stopped the job: then the trials that are missing were not run.
    pub interrupted: bool,
    /// Wall-clock time of the whole job.
    #[serde(with = "float")]
    pub seconds: f64,
}

impl CureReport {
    /// The baseline's outcome, once it has run.
    pub fn baseline(&self) -> Option<&Outcome> {
        self.trials
            .iter()
            .find(|trial| trial.kind == TrialKind::Baseline)?
            .outcome
            .as_ref()
    }

    /// A trial by name.
    pub fn trial(&self, name: &str) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.name == name)
    }
}
