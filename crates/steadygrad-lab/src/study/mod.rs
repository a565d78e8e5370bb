//! A study: which subject, how it is trained, which remedies it has. Read from and written as
//! commented TOML.

mod error;
pub(crate) mod key;
mod keys;
mod read;
mod write;

pub use error::StudyError;
pub use read::parse;

pub(crate) use error::nearest;

use std::path::PathBuf;

use burn::tensor::Device;
use steadygrad::dynamics::Activation;
use steadygrad::remedy::Remedy;

use crate::data::{CsvError, CsvTask, digits, read_csv};
use crate::models::{CnnConfig, MlpConfig};
use crate::remedies::effect_of;
use crate::subjects::{DigitsCnn, TableMlp, TemporalOrderRnn};
use crate::{Decay, Optimizer, Plan, Schedule, SubjectVisitor};

/// Where a table of numbers comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum TableSource {
    /// The embedded handwritten digits.
    Digits,
    /// A user's file.
    Csv {
        /// The file.
        file: PathBuf,
        /// The column to predict.
        target: String,
        /// What it holds.
        task: CsvTask,
    },
}

/// What is trained.
#[derive(Debug, Clone, PartialEq)]
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
        /// Units.
        hidden_size: usize,
        /// Standard deviation of all initial weights.
        init_std: f64,
    },
    /// A plain convolutional network on the digits.
    DigitsCnn(CnnConfig),
}

/// A whole study. Its values are in range: it can only be made by [`parse`] and the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Model and data.
    pub subject: SubjectConfig,
    /// The validation metric that counts as solved.
    pub goal: f64,
    /// Seed, optimizer, budget and remedies.
    pub plan: Plan,
}

/// The name a study gives its subject.
pub const SUBJECTS: [&str; 4] = ["digits-mlp", "temporal-order-rnn", "csv-mlp", "digits-cnn"];

/// A subject ready to be trained.
pub enum LoadedSubject {
    /// A perceptron.
    Mlp(TableMlp),
    /// A recurrent network.
    Rnn(TemporalOrderRnn),
    /// A convolutional network.
    Cnn(DigitsCnn),
}

impl LoadedSubject {
    /// Hands the subject to a visitor.
    pub fn visit<V: SubjectVisitor>(&self, visitor: V) -> V::Output {
        match self {
            LoadedSubject::Mlp(subject) => visitor.visit(subject),
            LoadedSubject::Rnn(subject) => visitor.visit(subject),
            LoadedSubject::Cnn(subject) => visitor.visit(subject),
        }
    }
}

impl Study {
    /// The default study of an embedded subject, or `None` for another name.
    pub fn embedded(subject: &str) -> Option<Self> {
        match subject {
            "digits-mlp" => Some(Self::mlp(TableSource::Digits)),
            "temporal-order-rnn" => Some(Self {
                subject: SubjectConfig::TemporalOrderRnn {
                    sequence_length: 24,
                    hidden_size: 50,
                    init_std: 0.3,
                },
                goal: 0.95,
                plan: Plan {
                    seed: 42,
                    learning_rate: 0.3,
                    momentum: 0.0,
                    steps: 5000,
                    batch_size: 20,
                    optimizer: Optimizer::Sgd,
                    schedule: Schedule::default(),
                    remedies: vec![],
                },
            }),
            "digits-cnn" => Some(Self {
                subject: SubjectConfig::DigitsCnn(CnnConfig {
                    depth: 3,
                    channels: 16,
                    gain: std::f64::consts::SQRT_2,
                }),
                goal: 0.95,
                plan: Plan {
                    seed: 42,
                    optimizer: Optimizer::Sgd,
                    learning_rate: 0.05,
                    momentum: 0.9,
                    schedule: Schedule {
                        warmup_steps: 0,
                        decay: Decay::Cosine,
                    },
                    steps: 300,
                    batch_size: 64,
                    remedies: vec![],
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
                seed: 42,
                learning_rate: 0.005,
                momentum: 0.0,
                steps: 1000,
                batch_size: 64,
                optimizer: Optimizer::Sgd,
                schedule: Schedule::default(),
                remedies: vec![],
            },
        }
    }

    /// The subject's name.
    pub fn subject_name(&self) -> &'static str {
        match &self.subject {
            SubjectConfig::Mlp {
                source: TableSource::Digits,
                ..
            } => SUBJECTS[0],
            SubjectConfig::TemporalOrderRnn { .. } => SUBJECTS[1],
            SubjectConfig::Mlp {
                source: TableSource::Csv { .. },
                ..
            } => SUBJECTS[2],
            SubjectConfig::DigitsCnn(_) => SUBJECTS[3],
        }
    }

    /// Reads the data and sets the subject up.
    ///
    /// # Errors
    /// Those of the user's CSV file.
    pub fn load(&self, device: &Device) -> Result<LoadedSubject, CsvError> {
        Ok(match &self.subject {
            SubjectConfig::Mlp { source, model } => {
                let (table, from) = match source {
                    TableSource::Digits => {
                        (digits(), "1,797 handwritten digits, raw pixels".into())
                    }
                    TableSource::Csv { file, target, task } => (
                        read_csv(file, target, *task)?,
                        format!("`{target}` of {}", file.display()),
                    ),
                };
                let name = self.subject_name();
                LoadedSubject::Mlp(TableMlp::new(
                    name,
                    from,
                    table,
                    *model,
                    self.goal,
                    device.clone(),
                ))
            }
            SubjectConfig::TemporalOrderRnn {
                sequence_length,
                hidden_size,
                init_std,
            } => {
                let subject =
                    TemporalOrderRnn::new(*sequence_length, *hidden_size, *init_std, self.goal);
                LoadedSubject::Rnn(subject)
            }
            SubjectConfig::DigitsCnn(model) => {
                LoadedSubject::Cnn(DigitsCnn::new(*model, self.goal, device.clone()))
            }
        })
    }

    /// The study with one more remedy in it.
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

    /// What this remedy changes in the study's text, as a unified diff.
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

    use super::key::{Allowed, StudyForm};
    use super::*;

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
