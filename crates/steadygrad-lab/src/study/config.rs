use std::path::PathBuf;

use steadygrad::dynamics::Activation;
use steadygrad::remedy::Remedy;

use crate::data::CsvTask;
use crate::models::{CnnConfig, MlpConfig};
use crate::remedies::effect_of;
use crate::{Decay, Plan, Schedule};

pub(super) const DIGITS_MLP: &str = "digits-mlp";
pub(super) const TEMPORAL_ORDER_RNN: &str = "temporal-order-rnn";
pub(super) const CSV_MLP: &str = "csv-mlp";
pub(super) const DIGITS_CNN: &str = "digits-cnn";

/// The names of the subjects in a study. The first one is the default.
pub const SUBJECTS: [&str; 4] = [DIGITS_MLP, TEMPORAL_ORDER_RNN, CSV_MLP, DIGITS_CNN];

/// Where a table of numbers comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TableSource {
    /// The embedded handwritten digits.
    Digits,
    /// A user's file.
    Csv {
        /// The file.
        file: PathBuf,
        /// The column to predict.
        target: String,
        /// Whether the target is a class or a number.
        task: CsvTask,
    },
}

/// A subject's model and data.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SubjectConfig {
    /// A plain multilayer perceptron on a table.
    Mlp {
        /// The data.
        source: TableSource,
        /// The model.
        model: MlpConfig,
    },
    /// A plain tanh network on the temporal order task.
    TemporalOrderRnn {
        /// Time steps of each sequence.
        sequence_length: usize,
        /// Units of the recurrent state.
        hidden_size: usize,
        /// Standard deviation of all initial weights.
        init_std: f64,
    },
    /// A plain convolutional network on the digits.
    DigitsCnn(CnnConfig),
}

/// A study. [`parse`](super::parse) and the defaults give values in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// The model and its data.
    pub subject: SubjectConfig,
    /// The validation metric that counts as solved.
    pub goal: f64,
    /// Seed, optimizer, budget and remedies.
    pub plan: Plan,
}

impl Study {
    /// The default study of an embedded subject, or `None` for another name.
    pub fn embedded(subject: &str) -> Option<Self> {
        match subject {
            DIGITS_MLP => Some(Self::mlp(TableSource::Digits)),
            TEMPORAL_ORDER_RNN => Some(Self {
                subject: SubjectConfig::TemporalOrderRnn {
                    sequence_length: 24,
                    hidden_size: 50,
                    init_std: 0.3,
                },
                goal: 0.95,
                plan: Plan {
                    learning_rate: 0.3,
                    steps: 5000,
                    batch_size: 20,
                    ..Plan::default()
                },
            }),
            DIGITS_CNN => Some(Self {
                subject: SubjectConfig::DigitsCnn(CnnConfig {
                    depth: 3,
                    channels: 16,
                    gain: std::f64::consts::SQRT_2,
                }),
                goal: 0.95,
                plan: Plan {
                    learning_rate: 0.05,
                    momentum: 0.9,
                    schedule: Schedule {
                        warmup_steps: 0,
                        decay: Decay::Cosine,
                    },
                    steps: 300,
                    ..Plan::default()
                },
            }),
            _ => None,
        }
    }

    /// The default study of a user's table.
    pub fn csv(file: PathBuf, target: String, task: CsvTask) -> Self {
        Self::mlp(TableSource::Csv { file, target, task })
    }

    fn mlp(source: TableSource) -> Self {
        Self {
            goal: if source == TableSource::Digits {
                0.95
            } else {
                0.8
            },
            subject: SubjectConfig::Mlp {
                source,
                model: MlpConfig {
                    depth: 20,
                    width: 128,
                    activation: Activation::Relu,
                    init_std: 0.2,
                },
            },
            plan: Plan {
                learning_rate: 0.005,
                ..Plan::default()
            },
        }
    }

    /// The subject's name.
    pub fn subject_name(&self) -> &'static str {
        match &self.subject {
            SubjectConfig::Mlp {
                source: TableSource::Digits,
                ..
            } => DIGITS_MLP,
            SubjectConfig::TemporalOrderRnn { .. } => TEMPORAL_ORDER_RNN,
            SubjectConfig::Mlp {
                source: TableSource::Csv { .. },
                ..
            } => CSV_MLP,
            SubjectConfig::DigitsCnn(_) => DIGITS_CNN,
        }
    }

    /// The study with this remedy. It replaces a remedy of the same family.
    #[must_use]
    pub fn with_remedy(&self, remedy: &Remedy) -> Self {
        let mut study = self.clone();
        let effect = effect_of(remedy);
        if let Some(learning_rate) = effect.learning_rate {
            study.plan.learning_rate = learning_rate;
        } else if let (Some(depth), SubjectConfig::Mlp { model, .. }) =
            (effect.structure.depth, &mut study.subject)
        {
            model.depth = depth;
        } else {
            let remedies = &mut study.plan.remedies;
            remedies.retain(|old| old.family() != remedy.family());
            remedies.push(*remedy);
        }
        study
    }

    /// The remedy's change of the study's text, as a unified diff.
    pub fn diff(&self, remedy: &Remedy) -> String {
        let (before, after) = (self.to_toml(), self.with_remedy(remedy).to_toml());
        similar::TextDiff::from_lines(&before, &after)
            .unified_diff()
            .context_radius(1)
            .header("study.toml", "study.toml (cured)")
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::parse;

    #[test]
    fn every_study_reads_back_as_it_was_written() {
        let csv = Study::csv(
            "my \"points\".csv".into(),
            "the label".into(),
            CsvTask::Regression,
        );
        for study in [
            Study::embedded("digits-mlp").unwrap(),
            Study::embedded("temporal-order-rnn").unwrap(),
            Study::embedded("digits-cnn").unwrap(),
            csv,
        ] {
            assert_eq!(parse(&study.to_toml()).unwrap(), study);
            let clip = Remedy::ClipGlobalNorm {
                max_norm: 1.0 / 3.0,
            };
            let slow_down = Remedy::LowerLearningRate {
                learning_rate: 1.23e-8,
            };
            let matrices = [
                Remedy::CapSpectralNorm {
                    max_spectral_norm: 2.5e-7,
                },
                Remedy::CriticalInit {
                    gain: std::f64::consts::SQRT_2,
                    input_rms: 7.64,
                },
                Remedy::RmsNorm { every: 1 },
            ];
            let mut remedies = vec![clip, slow_down];
            match study.subject {
                SubjectConfig::Mlp { .. } => {
                    remedies.extend(matrices);
                    remedies.push(Remedy::ReduceDepth { depth: 3 });
                }
                SubjectConfig::TemporalOrderRnn { .. } => {
                    remedies.extend(matrices);
                    remedies.push(Remedy::TruncateBptt { time_steps: 4 });
                }
                SubjectConfig::DigitsCnn(_) => (),
            }
            for remedy in remedies {
                let cured = study.with_remedy(&remedy);
                assert_ne!(cured, study);
                assert_eq!(
                    parse(&cured.to_toml()).unwrap(),
                    cured,
                    "{}",
                    cured.to_toml()
                );
                let diff = study.diff(&remedy);
                assert!(
                    diff.lines()
                        .any(|line| line.starts_with('+') && !line.starts_with("+++")),
                    "{diff}"
                );
            }
        }
    }
}
