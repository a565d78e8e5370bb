//! What the names in a line are good for.

use steadygrad::trace::{Objective, Role};

use crate::names::role;
use crate::{Columns, own_steps};

/// Words that say that a line is of an evaluation.
const EVALUATION: [&str; 14] = [
    "val",
    "valid",
    "validation",
    "validate",
    "validating",
    "eval",
    "evaluation",
    "evaluate",
    "evaluating",
    "test",
    "testing",
    "dev",
    "sanity",
    "validator",
];

/// Names of steps, the best first. A fraction of an epoch is printed as `update`.
const STEPS: [&str; 16] = [
    "num_updates",
    "step",
    "_step",
    "global_step",
    "steps",
    "iteration",
    "iter",
    "iterations",
    "updates",
    "iters",
    "batch",
    "itr",
    "it",
    "i",
    "update",
    "batch_idx",
];

/// Words before the name of a step that change nothing of what it counts.
const STEP_WORDS: [&str; 8] = [
    "learning",
    "train",
    "training",
    "global",
    "current",
    "optimizer",
    "time",
    "batch",
];

/// The name in lower case, with `_` for blanks.
pub(super) fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace([' ', '-'], "_")
}

/// How well a name counts steps, 0 the best. `None` where it counts none.
pub(super) fn step_of(name: &str) -> Option<usize> {
    let plain = plain(name);
    let plain = plain
        .split_once("/max_steps")
        .map_or(&*plain, |(name, _)| name);
    if matches!(
        plain,
        "total_timesteps" | "time/total_timesteps" | "timesteps_total"
    ) {
        return Some(40);
    }
    let bare = plain.rsplit('/').next().unwrap_or(plain);
    let bare = STEP_WORDS
        .iter()
        .find_map(|word| bare.strip_prefix(word)?.strip_prefix('_'))
        .unwrap_or(bare);
    STEPS.iter().position(|step| *step == bare)
}

/// Whether the steps are those of an environment.
pub(super) fn is_environment(name: &str) -> bool {
    plain(name).contains("timesteps")
}

pub(super) fn is_epoch(name: &str) -> bool {
    let plain = plain(name);
    matches!(
        &*plain,
        "epoch" | "epochs" | "train_epoch" | "training_epoch" | "current_epoch" | "ep"
    )
}

fn is_of(name: &str, wanted: &Role) -> bool {
    role(name, Objective::Supervised).is_some_and(|(role, _)| role == *wanted)
}

/// Whether a loss of held-out data is named.
pub(super) fn is_held_out(name: &str) -> bool {
    let known = is_of(name, &Role::ValidationLoss) || crate::names::is_held_out(name);
    let plain = plain(name);
    let word = plain.split(['_', '/', '.']).next().unwrap_or_default();
    known || EVALUATION.contains(&word)
}

/// Whether a loss of training is named.
pub(super) fn is_loss(name: &str) -> bool {
    let known = is_of(name, &Role::Loss);
    let lower = name.to_ascii_lowercase();
    let named = (lower.contains("loss") || lower == "xent") && !lower.contains("scal");
    let named = named && !lower.contains("ppl") && !lower.contains("perplexity");
    (known || named) && !is_held_out(name)
}

/// Whether the numbers of this name are kept.
pub(super) fn is_read(name: &str, columns: &Columns) -> bool {
    let by_user = [
        &columns.step,
        &columns.loss,
        &columns.grad_norm,
        &columns.learning_rate,
    ];
    by_user.into_iter().flatten().any(|column| column == name)
        || own_steps::is_read(name)
        || is_loss(name)
        || name == "skipped"
}

/// Whether a word outside the names says that the line is of an evaluation.
pub(super) fn tells_evaluation(text: &[u8]) -> bool {
    let inner =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'.' | b'-');
    text.split(|byte| !inner(byte)).any(|word| {
        EVALUATION
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// The name under which a line of an evaluation goes into the table.
pub(super) fn of_evaluation(name: String) -> String {
    match is_loss(&name) {
        true => "val_loss".into(),
        false if is_held_out(&name) => name,
        false => format!("eval/{name}"),
    }
}

/// The usual name for what Megatron, OpenNMT and fairseq call otherwise.
pub(super) fn usual(name: String) -> String {
    match &*plain(&name) {
        "number_of_skipped_iterations" => "skipped".into(),
        "xent" => "cross_entropy".into(),
        "train_gnorm" | "gradnorm" => "grad_norm".into(),
        "iter_loss" => "step_loss".into(),
        _ => name,
    }
}
