//! The keys of a study: names, ranges and comments, and where their values are in a [`Study`].

use std::ops::RangeInclusive;

use steadygrad::dynamics::Activation;
use toml::Value;

use super::config::{
    CSV_MLP, DIGITS_CNN, SUBJECTS, Study, SubjectConfig, TEMPORAL_ORDER_RNN, TableSource,
};
use super::key::{Allowed, Key, POSITIVE, Scope, StudyForm};
use crate::data::CsvTask;
use crate::models::{CnnConfig, MlpConfig};
use crate::{Decay, Optimizer, remedies};

/// A key with its place in a study.
pub(super) struct Setting {
    pub(super) key: Key,
    /// The value; `None` if the study's subject does not have the key.
    pub(super) get: fn(&Study) -> Option<Value>,
    /// Sets a value that the key allows.
    pub(super) set: fn(&mut Study, &Value),
}

const LARGE: RangeInclusive<i64> = 1..=1_000_000;

pub(super) const SUBJECT: Key = Key {
    name: "subject",
    allowed: Allowed::OneOf(&SUBJECTS),
    comment: "the model and its task",
};
pub(super) const FILE: Key = Key {
    name: "data.file",
    allowed: Allowed::Text,
    comment: "a CSV of numbers with a header line",
};
pub(super) const TARGET: Key = Key {
    name: "data.target",
    allowed: Allowed::Text,
    comment: "the column to predict",
};
pub(super) const MOMENTUM: Key = Key {
    name: "optimizer.momentum",
    allowed: Allowed::Share,
    comment: "momentum of sgd, 0 for none; adam and adamw have their own",
};

/// The keys of this subject's studies, in the order in which they are printed. The keys of remedies
/// follow them.
pub(super) fn settings_of(subject: &str) -> Vec<Setting> {
    let mut settings = vec![
        // The subject and the data are chosen before the other keys are set.
        fixed(SUBJECT, |study| Some(text(study.subject_name()))),
        Setting {
            key: Key {
                name: "seed",
                allowed: Allowed::Integer(0..=i64::MAX),
                comment: "fixes weights, batches and every number in the report",
            },
            get: |study| Some(Value::Integer(study.plan.seed as i64)),
            set: |study, value| set_u64(&mut study.plan.seed, value),
        },
    ];
    settings.extend(match subject {
        CSV_MLP => data().into_iter().chain(mlp()).collect(),
        TEMPORAL_ORDER_RNN => rnn(),
        DIGITS_CNN => cnn(),
        _ => mlp(),
    });
    settings.extend(optimizer());
    settings.extend(budget());
    settings
}

/// The remedies that this subject's studies may have, in the order in which they are printed.
pub(super) fn remedies_of(subject: &str) -> impl Iterator<Item = &'static StudyForm> {
    let (rnn, cnn) = (subject == TEMPORAL_ORDER_RNN, subject == DIGITS_CNN);
    let fits = move |scope| match scope {
        Scope::Every => true,
        Scope::Matrices => !cnn,
        Scope::TimeSteps => rnn,
    };
    remedies::study_forms().filter(move |form| fits(form.scope))
}

fn data() -> Vec<Setting> {
    vec![
        fixed(FILE, |study| {
            csv(study).map(|(file, ..)| text(&file.to_string_lossy()))
        }),
        fixed(TARGET, |study| {
            csv(study).map(|(_, target, _)| text(target))
        }),
        Setting {
            key: Key {
                name: "data.task",
                allowed: Allowed::OneOf(&CsvTask::NAMES),
                comment: "auto infers it from the target",
            },
            get: |study| csv(study).map(|(.., task)| text(task.name())),
            set: |study, value| {
                if let SubjectConfig::Mlp { source, .. } = &mut study.subject
                    && let TableSource::Csv { task, .. } = source
                {
                    set_named(task, value, CsvTask::from_name);
                }
            },
        },
    ]
}

fn mlp() -> Vec<Setting> {
    vec![
        Setting {
            key: Key {
                name: "model.depth",
                allowed: Allowed::Integer(1..=10_000),
                comment: "hidden layers",
            },
            get: |study| mlp_of(study).map(|model| count(model.depth)),
            set: |study, value| with_mlp(study, |model| set_count(&mut model.depth, value)),
        },
        Setting {
            key: Key {
                name: "model.width",
                allowed: Allowed::Integer(1..=100_000),
                comment: "units of each hidden layer",
            },
            get: |study| mlp_of(study).map(|model| count(model.width)),
            set: |study, value| with_mlp(study, |model| set_count(&mut model.width, value)),
        },
        Setting {
            key: Key {
                name: "model.activation",
                allowed: Allowed::OneOf(&Activation::NAMES),
                comment: "activation of every hidden layer",
            },
            get: |study| mlp_of(study).map(|model| text(model.activation.name())),
            set: |study, value| {
                with_mlp(study, |model| {
                    set_named(&mut model.activation, value, Activation::from_name);
                });
            },
        },
        init_std(),
    ]
}

fn rnn() -> Vec<Setting> {
    vec![
        Setting {
            key: Key {
                name: "model.hidden_size",
                allowed: Allowed::Integer(1..=100_000),
                comment: "tanh units",
            },
            get: |study| match &study.subject {
                SubjectConfig::TemporalOrderRnn { hidden_size, .. } => Some(count(*hidden_size)),
                _ => None,
            },
            set: |study, value| {
                if let SubjectConfig::TemporalOrderRnn { hidden_size, .. } = &mut study.subject {
                    set_count(hidden_size, value);
                }
            },
        },
        init_std(),
        Setting {
            key: Key {
                name: "model.sequence_length",
                allowed: Allowed::Integer(10..=100_000),
                comment: "time steps of each sequence",
            },
            get: |study| match &study.subject {
                SubjectConfig::TemporalOrderRnn {
                    sequence_length, ..
                } => Some(count(*sequence_length)),
                _ => None,
            },
            set: |study, value| {
                if let SubjectConfig::TemporalOrderRnn {
                    sequence_length, ..
                } = &mut study.subject
                {
                    set_count(sequence_length, value);
                }
            },
        },
    ]
}

fn init_std() -> Setting {
    Setting {
        key: Key {
            name: "model.init_std",
            allowed: POSITIVE,
            comment: "weights are drawn from N(0, init_std^2), whatever the width",
        },
        get: |study| match &study.subject {
            SubjectConfig::Mlp { model, .. } => Some(Value::Float(model.init_std)),
            SubjectConfig::TemporalOrderRnn { init_std, .. } => Some(Value::Float(*init_std)),
            SubjectConfig::DigitsCnn(_) => None,
        },
        set: |study, value| match &mut study.subject {
            SubjectConfig::Mlp { model, .. } => set_float(&mut model.init_std, value),
            SubjectConfig::TemporalOrderRnn { init_std, .. } => set_float(init_std, value),
            SubjectConfig::DigitsCnn(_) => (),
        },
    }
}

fn cnn() -> Vec<Setting> {
    vec![
        Setting {
            key: Key {
                name: "model.depth",
                allowed: Allowed::Integer(1..=1_000),
                comment: "convolutions of 3x3; the second halves the image",
            },
            get: |study| cnn_of(study).map(|model| count(model.depth)),
            set: |study, value| with_cnn(study, |model| set_count(&mut model.depth, value)),
        },
        Setting {
            key: Key {
                name: "model.channels",
                allowed: Allowed::Integer(1..=10_000),
                comment: "channels of each convolution, with relu",
            },
            get: |study| cnn_of(study).map(|model| count(model.channels)),
            set: |study, value| with_cnn(study, |model| set_count(&mut model.channels, value)),
        },
        Setting {
            key: Key {
                name: "model.gain",
                allowed: POSITIVE,
                comment: "kernels are drawn from N(0, gain^2 / fan_in); relu is critical at 1.41",
            },
            get: |study| cnn_of(study).map(|model| Value::Float(model.gain)),
            set: |study, value| with_cnn(study, |model| set_float(&mut model.gain, value)),
        },
    ]
}

fn optimizer() -> Vec<Setting> {
    vec![
        Setting {
            key: Key {
                name: "optimizer.name",
                allowed: Allowed::OneOf(&Optimizer::NAMES),
                comment: "the optimizer",
            },
            get: |study| Some(text(study.plan.optimizer.name())),
            set: |study, value| {
                set_named(&mut study.plan.optimizer, value, Optimizer::from_name);
            },
        },
        Setting {
            key: Key {
                name: "optimizer.learning_rate",
                allowed: POSITIVE,
                comment: "learning rate after the warm-up and before the decay",
            },
            get: |study| Some(Value::Float(study.plan.learning_rate)),
            set: |study, value| set_float(&mut study.plan.learning_rate, value),
        },
        Setting {
            key: MOMENTUM,
            get: |study| Some(Value::Float(study.plan.momentum)),
            set: |study, value| set_float(&mut study.plan.momentum, value),
        },
        Setting {
            key: Key {
                name: "optimizer.warmup_steps",
                allowed: Allowed::Integer(0..=1_000_000),
                comment: "steps over which the learning rate rises",
            },
            get: |study| Some(Value::Integer(study.plan.schedule.warmup_steps as i64)),
            set: |study, value| set_u64(&mut study.plan.schedule.warmup_steps, value),
        },
        Setting {
            key: Key {
                name: "optimizer.decay",
                allowed: Allowed::OneOf(&Decay::NAMES),
                comment: "decay of the learning rate, to zero at the last step",
            },
            get: |study| Some(text(study.plan.schedule.decay.name())),
            set: |study, value| {
                set_named(&mut study.plan.schedule.decay, value, Decay::from_name);
            },
        },
    ]
}

fn budget() -> Vec<Setting> {
    vec![
        Setting {
            key: Key {
                name: "budget.steps",
                allowed: Allowed::Integer(LARGE),
                comment: "optimizer steps of each trial",
            },
            get: |study| Some(Value::Integer(study.plan.steps as i64)),
            set: |study, value| set_u64(&mut study.plan.steps, value),
        },
        Setting {
            key: Key {
                name: "budget.batch_size",
                allowed: Allowed::Integer(LARGE),
                comment: "samples of a step",
            },
            get: |study| Some(count(study.plan.batch_size)),
            set: |study, value| set_count(&mut study.plan.batch_size, value),
        },
        Setting {
            key: Key {
                name: "goal.metric",
                allowed: Allowed::Any,
                comment: "validation accuracy (or R squared) that counts as solved",
            },
            get: |study| Some(Value::Float(study.goal)),
            set: |study, value| set_float(&mut study.goal, value),
        },
    ]
}

fn fixed(key: Key, get: fn(&Study) -> Option<Value>) -> Setting {
    Setting {
        key,
        get,
        set: |_, _| (),
    }
}

fn csv(study: &Study) -> Option<(&std::path::Path, &str, CsvTask)> {
    match &study.subject {
        SubjectConfig::Mlp {
            source: TableSource::Csv { file, target, task },
            ..
        } => Some((file, target, *task)),
        _ => None,
    }
}

fn mlp_of(study: &Study) -> Option<&MlpConfig> {
    match &study.subject {
        SubjectConfig::Mlp { model, .. } => Some(model),
        _ => None,
    }
}

fn with_mlp(study: &mut Study, change: impl FnOnce(&mut MlpConfig)) {
    if let SubjectConfig::Mlp { model, .. } = &mut study.subject {
        change(model);
    }
}

fn cnn_of(study: &Study) -> Option<&CnnConfig> {
    match &study.subject {
        SubjectConfig::DigitsCnn(model) => Some(model),
        _ => None,
    }
}

fn with_cnn(study: &mut Study, change: impl FnOnce(&mut CnnConfig)) {
    if let SubjectConfig::DigitsCnn(model) = &mut study.subject {
        change(model);
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn count(value: usize) -> Value {
    Value::Integer(value as i64)
}

fn set_float(slot: &mut f64, value: &Value) {
    *slot = value.as_float().unwrap_or(*slot);
}

fn set_count(slot: &mut usize, value: &Value) {
    *slot = value.as_integer().map_or(*slot, |number| number as usize);
}

fn set_u64(slot: &mut u64, value: &Value) {
    *slot = value.as_integer().map_or(*slot, i64::unsigned_abs);
}

fn set_named<T>(slot: &mut T, value: &Value, from_name: fn(&str) -> Option<T>) {
    if let Some(named) = value.as_str().and_then(from_name) {
        *slot = named;
    }
}
