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

    /// The study with this remedy. It replaces a remedy of the same kind.
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
            remedies.retain(|old| old.name() != remedy.name());
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
    use serde_json::{Map, Value as Json};
    use steadygrad::remedy::{LowerLearningRate, ReduceDepth};

    use super::*;
    use crate::study::key::{Allowed, StudyForm};
    use crate::study::{keys, parse};

    /// The remedy of this form with a different number in each of its parameters.
    fn filled(form: &StudyForm, number: f64) -> Remedy {
        let mut object = Map::from_iter([("kind".to_owned(), Json::from(form.kind))]);
        for (place, field) in form.fields.iter().enumerate() {
            let value = match field.key.allowed {
                Allowed::Integer(_) => Json::from(1 + place),
                _ => Json::from(number * (1 + place) as f64),
            };
            object.insert(field.name.to_owned(), value);
        }
        serde_json::from_value(Json::Object(object)).unwrap()
    }

    /// Remedies that a study of this subject can hold.
    fn writable(study: &Study) -> Vec<Remedy> {
        let slow_down = LowerLearningRate {
            learning_rate: 1.23e-8,
        };
        let mut remedies = vec![slow_down.into()];
        for number in [1.0 / 3.0, 2.5e-7, std::f64::consts::SQRT_2, 7.64] {
            let forms = keys::remedies_of(study.subject_name());
            remedies.extend(forms.map(|form| filled(form, number)));
        }
        if matches!(study.subject, SubjectConfig::Mlp { .. }) {
            remedies.push(ReduceDepth { depth: 3 }.into());
        }
        remedies
    }

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
            for remedy in writable(&study) {
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
