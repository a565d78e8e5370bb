//! The role of a column, inferred from its name.

use std::path::Path;

use steadygrad::trace::Role;

use crate::{Columns, LogError};

/// The ecosystem's names for each role, the best first, in lower case with `_` for every separator.
/// One of [`GROUPS`] may stand before a name.
const NAMES: [(Role, &[&str]); 11] = [
    (
        Role::Loss,
        &[
            "train_loss_step",
            "loss_step",
            "batch_loss",
            "step_loss",
            "loss",
            "train_loss",
            "training_loss",
            "tr_loss",
            "loss_train",
            "loss_training",
            "total_loss",
            "train_total_loss",
            "lm_loss",
            "ce_loss",
            "nll_loss",
            "cross_entropy_loss",
            "crossentropyloss",
            "cross_entropy",
            "loss_total",
            "train_loss_epoch",
            "loss_epoch",
            "objective",
        ],
    ),
    (
        Role::ValidationLoss,
        &[
            "val_loss",
            "valid_loss",
            "validation_loss",
            "eval_loss",
            "test_loss",
            "loss_val",
            "loss_validation",
            "loss_eval",
            "val_loss_epoch",
            "lm_loss_validation",
        ],
    ),
    (
        Role::GradNorm,
        &[
            "grad_norm",
            "global_grad_norm",
            "gradient_norm",
            "global_gradient_norm",
            "total_grad_norm",
            "total_gradient_norm",
            "grad_norm_total",
            "grad_norm_global",
            "grad_2_0_norm_total",
            "grad_norm_preclip",
            "grad_norm_before_clip",
            "grad_norm_unclipped",
            "gradients_norm",
            "gnorm",
            "l2_grad_norm",
            "global_norm",
        ],
    ),
    (
        Role::GradNormClipped,
        &[
            "grad_norm_clipped",
            "clipped_grad_norm",
            "grad_norm_after_clip",
            "grad_norm_postclip",
            "grad_norm_post_clip",
        ],
    ),
    (
        Role::LearningRate,
        &[
            "learning_rate",
            "lr",
            "current_lr",
            "lr_group_0",
            "learning_rate_group_0",
            "lr_pg1",
            "lr_0",
            "lr_default",
        ],
    ),
    (
        Role::LossScale,
        &[
            "loss_scale",
            "grad_scale",
            "amp_scale",
            "scaler_scale",
            "loss_scaler_scale",
        ],
    ),
    (
        Role::WeightNorm,
        &[
            "weight_norm",
            "weights_norm",
            "param_norm",
            "params_norm",
            "parameter_norm",
            "global_param_norm",
            "global_weight_norm",
            "total_weight_norm",
        ],
    ),
    (
        Role::UpdateNorm,
        &[
            "update_norm",
            "updates_norm",
            "global_update_norm",
            "total_update_norm",
        ],
    ),
    (
        Role::NonFinite,
        &["non_finite", "nonfinite", "num_nonfinite", "nan_count"],
    ),
    (Role::Subnormal, &["subnormal", "subnormals"]),
    (Role::Skipped, &["skipped", "skipped_step", "step_skipped"]),
];

/// Prefixes that carry no meaning.
const GROUPS: [&str; 13] = [
    "train",
    "training",
    "trainer",
    "optim",
    "optimizer",
    "debug",
    "metrics",
    "metric",
    "stats",
    "monitor",
    "model",
    "perf",
    "global",
];

/// How the name of a parameter's gradient norm begins; the parameter's own name follows.
const PER_PARAMETER: [&str; 9] = [
    "grad_norm/",
    "grad_norms/",
    "gradient_norm/",
    "gradient_norms/",
    "gradients/",
    "gradient/",
    "grads/",
    "grad_2.0_norm/",
    "grad_norm_per_param/",
];

/// Names of a step, the best first.
const STEPS: [&str; 12] = [
    "step",
    "global_step",
    "_step",
    "trainer_global_step",
    "train_global_step",
    "train_step",
    "steps",
    "iteration",
    "iter",
    "iterations",
    "num_updates",
    "update",
];

/// The rank of an epoch as a step.
const EPOCH: &str = "epoch";

/// The metric in a W&B export's name, such as `sunny-sky-3 - train/loss`.
fn metric(name: &str) -> &str {
    name.rsplit(" - ").next().unwrap_or(name).trim()
}

/// The name in lower case with one kind of separator.
fn plain(name: &str) -> String {
    let letters = metric(name).chars().map(|letter| match letter {
        '/' | '.' | ' ' | '-' | ':' => '_',
        other => other.to_ascii_lowercase(),
    });
    letters.collect()
}

/// The role of a name and the name's rank for it, 0 the best. `None` for an unknown name.
pub(crate) fn role(name: &str) -> Option<(Role, usize)> {
    let (name, lower) = (metric(name), metric(name).to_ascii_lowercase());
    // An export of grouped runs has extremes beside its means.
    if lower.ends_with("__min") || lower.ends_with("__max") {
        return None;
    }
    let bare = GROUPS
        .iter()
        .find_map(|group| lower.strip_prefix(group)?.strip_prefix('/'))
        .unwrap_or(&lower);
    let parameter = PER_PARAMETER.iter().find_map(|prefix| {
        let rest = bare.strip_prefix(prefix)?;
        // The parameter keeps the case of its letters.
        name.get(name.len() - rest.len()..)
    });
    match parameter {
        Some("total" | "global" | "all" | "norm") => return Some((Role::GradNorm, 50)),
        Some("mean" | "max" | "min" | "" | "avg") => return None,
        Some(parameter) => return Some((Role::ParameterGradNorm(parameter.into()), 0)),
        None => {}
    }
    let plain = plain(name);
    let known = |plain: &str, worse: usize| {
        NAMES.iter().find_map(|(role, names)| {
            let place = names.iter().position(|known| *known == plain)?;
            Some((role.clone(), place + worse))
        })
    };
    known(&plain, 0)
        .or_else(|| {
            let bare = GROUPS
                .iter()
                .find_map(|group| plain.strip_prefix(group)?.strip_prefix('_'))?;
            known(bare, 100)
        })
        .or_else(|| {
            // Lightning's monitor: `lr-AdamW`, `lr-AdamW/pg1`.
            let optimizer = plain.strip_prefix("lr_")?;
            let first = !optimizer.contains("_pg") || optimizer.ends_with("_pg1");
            first.then_some((Role::LearningRate, 200))
        })
}

/// The rank of a name as a step, 0 the best. `None` for any other name.
pub(crate) fn step_rank(name: &str) -> Option<usize> {
    let plain = plain(name);
    let known = STEPS.iter().position(|known| *known == plain);
    known.or_else(|| (plain == EPOCH).then_some(STEPS.len()))
}

/// The columns that are read, with their roles.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Selection {
    /// The column that holds the steps.
    pub(crate) step: Option<usize>,
    /// One column for each role, in the log's order.
    pub(crate) roles: Vec<(usize, Role)>,
    /// The names of all other columns.
    pub(crate) unmatched: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// A column that may have a role. Rank 0 is the best.
struct Candidate {
    index: usize,
    role: Role,
    rank: usize,
}

impl Selection {
    /// Gives a column its role, unless a column with a better name has it. The first `fixed`
    /// columns are the user's choice.
    fn place(
        &mut self,
        candidate: Candidate,
        found: &mut Vec<Candidate>,
        fixed: usize,
        names: &[String],
    ) {
        // Each parameter is a role of its own.
        let parameter = matches!(candidate.role, Role::ParameterGradNorm(_));
        let rival = found.iter().position(|other| other.role == candidate.role);
        let Some(rival) = rival.filter(|_| !parameter) else {
            found.push(candidate);
            return;
        };
        let better = rival >= fixed && candidate.rank < found[rival].rank;
        let (taken, left) = if better {
            (candidate.index, found[rival].index)
        } else {
            (found[rival].index, candidate.index)
        };
        self.notes.push(format!(
            "both `{}` and `{}` could be {}: the first is used",
            names[taken],
            names[left],
            candidate.role.column()
        ));
        self.unmatched.push(names[left].clone());
        if better {
            found[rival] = candidate;
        }
    }
}

/// Finds each column's role. Columns that the user named come first.
pub(crate) fn select(
    path: &Path,
    names: &[String],
    columns: &Columns,
) -> Result<Selection, LogError> {
    let named = |column: &Option<String>| match column {
        None => Ok(None),
        Some(column) => match names.iter().position(|name| name == column) {
            Some(index) => Ok(Some(index)),
            None => Err(no_column(path, column, names)),
        },
    };
    let ranked_steps = names.iter().enumerate();
    let best_step = ranked_steps
        .filter_map(|(index, name)| Some((step_rank(name)?, index)))
        .min();
    let step = named(&columns.step)?.or(best_step.map(|(_, index)| index));
    let by_user = [
        (named(&columns.loss)?, Role::Loss),
        (named(&columns.grad_norm)?, Role::GradNorm),
        (named(&columns.learning_rate)?, Role::LearningRate),
    ];
    let by_user = by_user.into_iter().filter_map(|(index, role)| {
        let (index, rank) = (index?, 0);
        Some(Candidate { index, role, rank })
    });
    let mut found: Vec<Candidate> = by_user.collect();
    let fixed = found.len();
    let mut selection = Selection {
        step,
        ..Selection::default()
    };
    for (index, name) in names.iter().enumerate() {
        if Some(index) == step || found[..fixed].iter().any(|named| named.index == index) {
            continue;
        }
        match role(name) {
            Some((role, rank)) => {
                let candidate = Candidate { index, role, rank };
                selection.place(candidate, &mut found, fixed, names);
            }
            None => selection.unmatched.push(name.clone()),
        }
    }
    selection.roles = found
        .into_iter()
        .map(|found| (found.index, found.role))
        .collect();
    if selection.roles.iter().any(|(_, role)| is_essential(role)) {
        return Ok(selection);
    }
    Err(LogError::NoRole {
        path: path.to_owned(),
        columns: names.iter().take(20).cloned().collect(),
    })
}

/// Whether the rules can judge a log that has this role alone.
fn is_essential(role: &Role) -> bool {
    matches!(
        role,
        Role::Loss | Role::GradNorm | Role::ParameterGradNorm(_)
    )
}

/// The error for a column that the log lacks, with the nearest names.
pub(crate) fn no_column(path: &Path, column: &str, names: &[String]) -> LogError {
    const MOST: usize = 3;
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, column), name))
        .collect();
    near.sort();
    LogError::NoColumn {
        path: path.to_owned(),
        column: column.to_owned(),
        nearest: near
            .into_iter()
            .take(MOST)
            .map(|(_, name)| name.clone())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<Role> {
        role(name).map(|found| found.0)
    }

    #[test]
    fn the_ecosystem_s_names() {
        for name in [
            "loss",
            "train/loss",
            "train_loss",
            "Loss/train",
            "training loss",
            "train/lm-loss",
            "lm loss",
            "run-7 - train/loss",
            "train_loss_step",
            "tr_loss",
            "objective",
            "train/objective",
        ] {
            assert_eq!(of(name), Some(Role::Loss), "{name}");
        }
        for name in [
            "val_loss",
            "valid/loss",
            "eval/loss",
            "eval_loss",
            "validation.loss",
        ] {
            assert_eq!(of(name), Some(Role::ValidationLoss), "{name}");
        }
        for name in [
            "grad_norm",
            "train/grad_norm",
            "grad-norm",
            "global_grad_norm",
            "optim/total_grad_norm",
            "grad_2.0_norm_total",
            "grad_norm/total",
        ] {
            assert_eq!(of(name), Some(Role::GradNorm), "{name}");
        }
        for name in [
            "lr",
            "learning_rate",
            "train/learning_rate",
            "lr-Adam",
            "lr-AdamW/pg1",
            "learning-rate",
        ] {
            assert_eq!(of(name), Some(Role::LearningRate), "{name}");
        }
        let parameter = |name: &str| Some(Role::ParameterGradNorm(name.into()));
        assert_eq!(of("grad_norm/h.0.attn.W"), parameter("h.0.attn.W"));
        assert_eq!(
            of("gradients/layers.3.weight"),
            parameter("layers.3.weight")
        );
        assert_eq!(of("train/grad_norm/Head"), parameter("Head"));
        assert_eq!(of("grad_2.0_norm/net.0.bias"), parameter("net.0.bias"));
        for name in [
            "accuracy",
            "epoch",
            "loss__MIN",
            "",
            "grad_norm/",
            "x - loss__MAX",
            "lr-Adam/pg2",
            "val_accuracy",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    fn select_of(names: &[&str], columns: &Columns) -> Result<Selection, LogError> {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        select(Path::new("log"), &names, columns)
    }

    #[test]
    fn the_better_name_is_taken_and_the_user_s_above_all() {
        let found = select_of(
            &[
                "epoch",
                "train_loss_epoch",
                "train_loss_step",
                "step",
                "acc",
            ],
            &Columns::default(),
        )
        .unwrap();
        assert_eq!(found.step, Some(3));
        assert_eq!(found.roles, [(2, Role::Loss)]);
        assert!(found.notes[0].starts_with("both `train_loss_step` and `train_loss_epoch`"));
        let columns = Columns {
            loss: Some("acc".into()),
            step: Some("epoch".into()),
            ..Columns::default()
        };
        let found = select_of(&["epoch", "loss", "step", "acc"], &columns).unwrap();
        assert_eq!((found.step, found.roles), (Some(0), vec![(3, Role::Loss)]));
    }

    #[test]
    fn what_is_not_there_is_named_with_the_nearest() {
        let columns = Columns {
            loss: Some("trian_loss".into()),
            ..Columns::default()
        };
        let error = select_of(&["train_loss", "step"], &columns)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no column `trian_loss`; the nearest are `train_loss`"),
            "{error}"
        );
        let error = select_of(&["a", "b"], &Columns::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("its columns are a, b; name one with --loss"),
            "{error}"
        );
    }
}
