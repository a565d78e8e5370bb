//! The keys of a study: their names, ranges and comments, in one place for reading and writing.

use std::ops::RangeInclusive;

use steadygrad::dynamics::Activation;

use super::key::{Allowed, Key, POSITIVE, Scope, StudyForm};
use crate::{Decay, Optimizer, remedies};

const fn key(name: &'static str, allowed: Allowed, comment: &'static str) -> Key {
    Key {
        name,
        allowed,
        comment,
    }
}

const LARGE: RangeInclusive<i64> = 1..=1_000_000;

pub(super) const SUBJECT: Key = key(
    "subject",
    Allowed::OneOf(&super::SUBJECTS),
    "what is trained",
);
pub(super) const SEED: Key = key(
    "seed",
    Allowed::Integer(0..=i64::MAX),
    "fixes weights, batches and every number in the report",
);

pub(super) const FILE: Key = key(
    "data.file",
    Allowed::Text,
    "a CSV of numbers with a header line",
);
pub(super) const TARGET: Key = key("data.target", Allowed::Text, "the column to predict");
pub(super) const TASK: Key = key(
    "data.task",
    Allowed::OneOf(&["auto", "classification", "regression"]),
    "auto tells it from the target",
);

pub(super) const DEPTH: Key = key("model.depth", Allowed::Integer(1..=10_000), "hidden layers");
pub(super) const WIDTH: Key = key(
    "model.width",
    Allowed::Integer(1..=100_000),
    "units of each",
);
pub(super) const ACTIVATION: Key = key(
    "model.activation",
    Allowed::OneOf(&Activation::NAMES),
    "of every hidden layer",
);
pub(super) const HIDDEN_SIZE: Key = key(
    "model.hidden_size",
    Allowed::Integer(1..=100_000),
    "tanh units",
);
pub(super) const INIT_STD: Key = key(
    "model.init_std",
    POSITIVE,
    "weights are drawn from N(0, init_std^2), whatever the width",
);
pub(super) const SEQUENCE_LENGTH: Key = key(
    "model.sequence_length",
    Allowed::Integer(10..=100_000),
    "time steps of each sequence",
);

pub(super) const CONVOLUTIONS: Key = key(
    "model.depth",
    Allowed::Integer(1..=1_000),
    "convolutions of 3x3; the second halves the image",
);
pub(super) const CHANNELS: Key = key(
    "model.channels",
    Allowed::Integer(1..=10_000),
    "of each, with relu",
);
pub(super) const GAIN: Key = key(
    "model.gain",
    POSITIVE,
    "kernels are drawn from N(0, gain^2 / fan_in); relu is critical at 1.41",
);

pub(super) const OPTIMIZER: Key = key(
    "optimizer.name",
    Allowed::OneOf(&Optimizer::NAMES),
    "what turns gradients into updates",
);
pub(super) const LEARNING_RATE: Key = key(
    "optimizer.learning_rate",
    POSITIVE,
    "after the warm-up, before the decay",
);
pub(super) const MOMENTUM: Key = key(
    "optimizer.momentum",
    Allowed::Share,
    "of sgd, 0 is none; adam and adamw have their own",
);
pub(super) const WARMUP_STEPS: Key = key(
    "optimizer.warmup_steps",
    Allowed::Integer(0..=1_000_000),
    "the learning rate climbs over these steps",
);
pub(super) const DECAY: Key = key(
    "optimizer.decay",
    Allowed::OneOf(&Decay::NAMES),
    "of the learning rate, to zero at the last step",
);

pub(super) const STEPS: Key = key(
    "budget.steps",
    Allowed::Integer(LARGE),
    "optimizer steps of each trial",
);
pub(super) const BATCH_SIZE: Key = key(
    "budget.batch_size",
    Allowed::Integer(LARGE),
    "samples a step",
);

pub(super) const GOAL: Key = key(
    "goal.metric",
    Allowed::Any,
    "validation accuracy (or R squared) that counts as solved",
);

/// The keys a study of this subject may have, in the order they are printed.
pub(super) fn of(subject: &str) -> Vec<Key> {
    let (rnn, cnn) = (subject == super::SUBJECTS[1], subject == super::SUBJECTS[3]);
    let mut keys = vec![SUBJECT, SEED];
    if subject == super::SUBJECTS[2] {
        keys.extend([FILE, TARGET, TASK]);
    }
    if rnn {
        keys.extend([HIDDEN_SIZE, INIT_STD, SEQUENCE_LENGTH]);
    } else if cnn {
        keys.extend([CONVOLUTIONS, CHANNELS, GAIN]);
    } else {
        keys.extend([DEPTH, WIDTH, ACTIVATION, INIT_STD]);
    }
    keys.extend([OPTIMIZER, LEARNING_RATE, MOMENTUM, WARMUP_STEPS, DECAY]);
    keys.extend([STEPS, BATCH_SIZE, GOAL]);
    keys.extend(
        remedies_of(subject).flat_map(|form| form.fields.iter().map(|field| field.key.clone())),
    );
    keys
}

/// The remedies a study of this subject may have, in the order in which they are printed.
pub(super) fn remedies_of(subject: &str) -> impl Iterator<Item = &'static StudyForm> {
    let (rnn, cnn) = (subject == super::SUBJECTS[1], subject == super::SUBJECTS[3]);
    let fits = move |scope| match scope {
        Scope::Every => true,
        Scope::Matrices => !cnn,
        Scope::TimeSteps => rnn,
    };
    remedies::study_forms().filter(move |form| fits(form.scope))
}
