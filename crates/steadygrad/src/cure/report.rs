use serde::{Deserialize, Serialize};

use super::{Derivation, Goal, Outcome, Prescription, RankedTrial};
use crate::diagnose::Finding;
use crate::float;
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Family, Remedy};

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

/// What a trial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialKind {
    /// The user's run as it is, only observed.
    Baseline,
    /// One of the six families, its parameter computed.
    Family(Family),
    /// What a remedy must beat.
    Control,
}

/// One thing tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Unique name, for example `clip` or `control: clip=1`.
    pub name: String,
    /// What it is for.
    pub kind: TrialKind,
    /// The change; `None` for the baseline and for a family that does not apply.
    pub remedy: Option<Remedy>,
    /// How the parameter was computed. Controls have none: they are not computed.
    pub derivation: Option<Derivation>,
    /// Why the family does not apply here.
    pub not_tried: Option<String>,
    /// What became of it; `None` when it was not tried or the job was interrupted before.
    pub outcome: Option<Outcome>,
}

/// The name of the run as it is.
pub const BASELINE: &str = "baseline";

impl Trial {
    /// The run as it is; without its outcome where it has not run yet.
    pub fn baseline(outcome: Option<Outcome>) -> Self {
        Self {
            name: BASELINE.into(),
            kind: TrialKind::Baseline,
            remedy: None,
            derivation: None,
            not_tried: None,
            outcome,
        }
    }

    /// Its name as that of a folder: `control: clip=1` becomes `control-clip-1`.
    pub fn folder_name(&self) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        };
        let name: String = self.name.chars().map(plain).collect();
        name.split('-')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }
}

/// One fresh seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedOutcome {
    /// Seed of weights and data order.
    pub seed: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// One trial run again on fresh seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The trial's name.
    pub trial: String,
    /// The runs.
    pub seeds: Vec<SeedOutcome>,
    /// How many reached the goal.
    pub solved: usize,
    /// Smallest validation metric; NaN if any run lost its model.
    #[serde(with = "float")]
    pub worst: f64,
    /// Mean validation metric; NaN if any run lost its model.
    #[serde(with = "float")]
    pub mean: f64,
    /// Sample standard deviation of the metric; NaN with fewer than two runs.
    #[serde(with = "float")]
    pub standard_deviation: f64,
}

impl Verification {
    /// Sums up a trial's runs.
    pub fn new(trial: String, seeds: Vec<SeedOutcome>) -> Self {
        let metrics: Vec<f64> = seeds
            .iter()
            .map(|run| run.outcome.validation_metric)
            .collect();
        let count = metrics.len() as f64;
        let mean = metrics.iter().sum::<f64>() / count;
        let variance = metrics
            .iter()
            .map(|metric| (metric - mean).powi(2))
            .sum::<f64>()
            / (count - 1.0);
        Self {
            trial,
            solved: seeds
                .iter()
                .filter(|run| run.outcome.verdict == super::Verdict::Cured)
                .count(),
            worst: metrics
                .iter()
                .copied()
                .reduce(|a, b| if b.is_nan() || b < a { b } else { a })
                .unwrap_or(f64::NAN),
            mean,
            standard_deviation: if seeds.len() < 2 {
                f64::NAN
            } else {
                variance.sqrt()
            },
            seeds,
        }
    }
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
    /// The baseline, the six families, the controls.
    pub trials: Vec<Trial>,
    /// The families and controls, best first.
    pub ranking: Vec<RankedTrial>,
    /// The winner and the controls on fresh seeds, the winner first.
    pub verification: Vec<Verification>,
    /// What to change. `None` when no family cured, when most fresh seeds did not confirm the
    /// best, or when the job was interrupted.
    pub prescription: Option<Prescription>,
    /// Whether a person stopped the job: then what is missing was not run.
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

#[cfg(test)]
mod tests {
    use super::super::testing::healthy_outcome;
    use super::*;

    fn verified(metrics: &[f64]) -> Verification {
        let seeds = metrics
            .iter()
            .enumerate()
            .map(|(seed, metric)| {
                let mut outcome = healthy_outcome();
                outcome.validation_metric = *metric;
                SeedOutcome {
                    seed: seed as u64,
                    outcome,
                }
            })
            .collect();
        Verification::new("x".into(), seeds)
    }

    #[test]
    fn folders_are_named_without_what_a_shell_reads() {
        let mut trial = Trial::baseline(None);
        assert_eq!(trial.folder_name(), "baseline");
        for (name, folder) in [
            ("control: clip=1", "control-clip-1"),
            ("slow_down", "slow_down"),
        ] {
            trial.name = name.into();
            assert_eq!(trial.folder_name(), folder);
        }
    }

    #[test]
    fn the_spread_of_fresh_seeds() {
        let spread = verified(&[0.9, 1.0, 0.95]);
        assert!((spread.mean - 0.95).abs() < 1e-12);
        assert_eq!(spread.worst, 0.9);
        assert!((spread.standard_deviation - 0.05).abs() < 1e-12);
    }

    #[test]
    fn a_lost_model_is_not_averaged_away() {
        for metrics in [[0.9, f64::NAN], [f64::NAN, 0.9]] {
            let spread = verified(&metrics);
            assert!(spread.worst.is_nan() && spread.mean.is_nan());
        }
        assert!(verified(&[]).worst.is_nan());
        assert!(verified(&[0.9]).standard_deviation.is_nan());
    }
}
