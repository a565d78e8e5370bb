//! The meaning of a column, inferred from its name.

use steadygrad::trace::{Objective, Role};

use crate::spellings::{
    DEEP_GROUPS, GROUPS, HELD_OUT, NAMES, NO_LOSS, PER_PARAMETER, RL_GROUPS, RL_NAMES,
};

/// The metric in a W&B export's name, such as `sunny-sky-3 - train/loss`.
fn metric(name: &str) -> &str {
    name.rsplit(" - ").next().unwrap_or(name).trim()
}

/// The words of a name in lower case: `TrainLoss` and `train/loss` give `train`, `loss`.
pub(crate) fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = metric(name).chars().collect();
    let mut words = vec![String::new()];
    for (place, letter) in letters.iter().enumerate() {
        if "/. -_:()[]|".contains(*letter) {
            words.push(String::new());
            continue;
        }
        let before = place.checked_sub(1).map(|before| letters[before]);
        let is_next_lower = letters
            .get(place + 1)
            .is_some_and(|next| next.is_lowercase());
        // A capital begins a word after a small letter, and as the last of several capitals.
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase() || (before.is_uppercase() && is_next_lower)
            });
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The words of a name, joined by `_`.
pub(crate) fn plain(name: &str) -> String {
    words(name).join("_")
}

/// Whether the name says that its values come from held-out data.
pub(crate) fn is_held_out(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| HELD_OUT.contains(&word.as_str()))
}

/// Whether a text such as `val` names held-out data. `None` for an empty text.
pub(crate) fn is_held_out_split(text: &str) -> Option<bool> {
    (!text.trim().is_empty()).then(|| is_held_out(text))
}

/// Whether a column of this name says which part of the data its row is about.
pub(crate) fn is_split(name: &str) -> bool {
    let name = plain(name);
    [
        "mode",
        "split",
        "phase",
        "stage",
        "subset",
        "dataset_split",
        "set",
    ]
    .contains(&name.as_str())
}

/// The place of a name in a list: as it is, and without the groups before it. `None` for another.
pub(crate) fn place(names: &[&str], plain: &str) -> Option<usize> {
    place_after(&[], names, plain)
}

/// The same with more groups that may stand before the name.
fn place_after(more: &[&str], names: &[&str], plain: &str) -> Option<usize> {
    // Each group that is left out makes the name a worse one.
    const WORSE: usize = 100;
    let deep = DEEP_GROUPS
        .iter()
        .find_map(|group| plain.split_once(group).map(|(_, rest)| rest));
    let (mut rest, mut worse) = match deep {
        Some(rest) => (rest, WORSE),
        None => (plain, 0),
    };
    loop {
        if let Some(place) = names.iter().position(|known| *known == rest) {
            return Some(place + worse);
        }
        let strip = |group: &&str| rest.strip_prefix(*group)?.strip_prefix('_');
        rest = GROUPS.iter().chain(more).find_map(strip)?;
        worse += WORSE;
    }
}

fn known(table: &[(Role, &[&str])], more: &[&str], plain: &str) -> Option<(Role, usize)> {
    let places = table
        .iter()
        .filter_map(|(role, names)| Some((place_after(more, names, plain)?, role)));
    let (place, role) = places.min_by_key(|(place, _)| *place)?;
    Some((role.clone(), place))
}

/// The role of a name and the name's rank for it, 0 the best. `None` for an unknown name.
pub(crate) fn role(name: &str, objective: Objective) -> Option<(Role, usize)> {
    let (name, lower) = (metric(name), metric(name).to_ascii_lowercase());
    // An export of grouped runs has extremes beside its means.
    if lower.ends_with("__min") || lower.ends_with("__max") {
        return None;
    }
    if let Some(found) = per_parameter(name, &lower) {
        return found;
    }
    if is_held_out(name) {
        let mut words = words(name);
        words.retain(|word| !HELD_OUT.contains(&word.as_str()));
        let (role, rank) = known(&NAMES, &[], &words.join("_"))?;
        return (role == Role::Loss).then_some((Role::ValidationLoss, rank));
    }
    let plain = plain(name);
    let rl = (objective == Objective::Rl).then(|| known(&RL_NAMES, &RL_GROUPS, &plain));
    rl.flatten()
        .or_else(|| known(&NAMES, &[], &plain))
        .or_else(|| rate_of_an_optimizer(&plain))
}

/// The role of a parameter's own gradient norm. The outer `None` is for names of another kind.
fn per_parameter(name: &str, lower: &str) -> Option<Option<(Role, usize)>> {
    let bare = GROUPS
        .iter()
        .find_map(|group| lower.strip_prefix(group)?.strip_prefix('/'))
        .unwrap_or(lower);
    let parameter = PER_PARAMETER.iter().find_map(|prefix| {
        let rest = bare.strip_prefix(prefix)?;
        // The parameter keeps the case of its letters.
        name.get(name.len() - rest.len()..)
    })?;
    Some(match parameter {
        "total" | "global" | "all" | "norm" => Some((Role::GradNorm, 50)),
        "mean" | "max" | "min" | "" | "avg" => None,
        parameter => Some((Role::ParameterGradNorm(parameter.into()), 0)),
    })
}

/// Lightning's and Composer's monitors: `lr-AdamW`, `lr-AdamW/pg1`, `lr-Adam/group0`.
fn rate_of_an_optimizer(plain: &str) -> Option<(Role, usize)> {
    let (_, optimizer) = plain.rsplit_once("lr_").filter(|(before, _)| {
        before.is_empty()
            || before
                .trim_end_matches('_')
                .split('_')
                .all(|word| GROUPS.contains(&word))
    })?;
    let is_other = |word: &str, first: &[&str]| {
        optimizer.contains(word) && !first.iter().any(|first| optimizer.ends_with(first))
    };
    let is_adam = ["adam", "sgd", "rmsprop", "lion", "ada", "muon", "lamb"]
        .iter()
        .any(|known| optimizer.contains(known));
    let is_first = !is_other("pg", &["pg0", "pg1"]) && !is_other("group", &["group0", "group_0"]);
    (is_adam && is_first).then_some((Role::LearningRate, 200))
}

/// Whether the name is one of several losses of the training: `train/box_loss`, `loss_G`.
pub(crate) fn is_loss_part(name: &str, objective: Objective) -> bool {
    if is_held_out(name) || name.ends_with("__MIN") || name.ends_with("__MAX") {
        return false;
    }
    let words = words(name);
    let has = |some: &[&str]| words.iter().any(|word| some.contains(&word.as_str()));
    if has(&NO_LOSS) {
        return false;
    }
    let gan = objective == Objective::Gan
        && (has(&["err"]) || matches!(words.as_slice(), [one] if one == "g" || one == "d"));
    gan || has(&["loss", "losses"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<Role> {
        role(name, Objective::Supervised).map(|found| found.0)
    }

    #[test]
    fn words_in_any_spelling() {
        for (name, expected) in [
            ("TrainLoss", "train_loss"),
            ("train/loss", "train_loss"),
            ("lm loss", "lm_loss"),
            ("NLLLoss", "nll_loss"),
            ("lossG", "loss_g"),
            ("GLoss", "g_loss"),
            ("errD", "err_d"),
            ("D(G(z))", "d_g_z"),
            ("LR (group 0)", "lr_group_0"),
            ("grad_2.0_norm_total", "grad_2_0_norm_total"),
            ("", ""),
            ("run-7 - train/loss", "train_loss"),
        ] {
            assert_eq!(plain(name), expected, "{name}");
        }
    }

    #[test]
    fn the_ecosystem_s_losses() {
        for name in [
            "loss",
            "train/loss",
            "train_loss",
            "Loss/train",
            "Loss/Train",
            "TrainLoss",
            "training loss",
            "train/lm-loss",
            "lm loss",
            "run-7 - train/loss",
            "train_loss_step",
            "tr_loss",
            "objective",
            "train/objective",
            "loss_metrics/global_avg_loss",
            "train/CrossEntropyLoss",
            "train/CE loss",
            "loss/train/total",
            "losses/total",
            "losses/td_loss",
            "td_loss",
            "Train/Samples/train_loss",
            "reduced_train_loss",
            "epoch_loss",
            "info/learner/default_policy/learner_stats/total_loss",
        ] {
            assert_eq!(of(name), Some(Role::Loss), "{name}");
        }
        for name in [
            "val_loss",
            "valid/loss",
            "eval/loss",
            "eval_loss",
            "validation.loss",
            "lm loss validation",
            "Loss/test",
            "val/total_loss",
            "val_loss_epoch",
        ] {
            assert_eq!(of(name), Some(Role::ValidationLoss), "{name}");
        }
    }

    #[test]
    fn the_ecosystem_s_norms_and_rates() {
        for name in [
            "grad_norm",
            "train/grad_norm",
            "grad-norm",
            "GradNorm",
            "global_grad_norm",
            "optim/total_grad_norm",
            "grad_2.0_norm_total",
            "grad_norm/total",
            "grad/norm",
            "gradients/norm",
            "l2_norm/grad/global",
            "train_gnorm",
            "total_norm",
            "actor/grad_norm",
        ] {
            let found = of(name);
            let norm = Some(Role::GradNorm);
            assert!(found == norm || name == "grad/norm", "{name}: {found:?}");
        }
        for name in [
            "lr",
            "learning_rate",
            "train/learning_rate",
            "lr-Adam",
            "lr-AdamW/pg1",
            "lr-DecoupledAdamW/group0",
            "learning-rate",
            "LearningRate",
            "x/lr0",
            "lr/pg0",
            "hp/lr",
            "optim/LR (group 0)",
            "epoch_learning_rate",
            "charts/learning_rate",
        ] {
            assert_eq!(of(name), Some(Role::LearningRate), "{name}");
        }
    }

    #[test]
    fn parameters_keep_their_names_and_others_have_none() {
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
            "lr-Adam/group1",
            "lr_decay",
            "val_accuracy",
            "val/box_loss",
            "val_grad_norm",
            "kl",
            "reward",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn roles_of_reinforcement_learning() {
        let of = |name: &str| role(name, Objective::Rl).map(|found| found.0);
        for (name, expected) in [
            ("train/approx_kl", Role::Kl),
            ("objective/kl", Role::Kl),
            ("kl", Role::Kl),
            ("Loss/value_function", Role::ValueLoss),
            ("losses/value_loss", Role::ValueLoss),
            (
                "info/learner/default_policy/learner_stats/vf_loss",
                Role::ValueLoss,
            ),
            ("rollout/ep_rew_mean", Role::Reward),
            ("charts/episodic_return", Role::Reward),
            ("Train/mean_reward", Role::Reward),
            ("critic/rewards/mean", Role::Reward),
            ("env_runners/episode_return_mean", Role::Reward),
            ("train/loss", Role::Loss),
            ("learner_stats/total_loss", Role::Loss),
        ] {
            assert_eq!(of(name), Some(expected), "{name}");
        }
        for name in [
            "eval/mean_reward",
            "policy_loss",
            "learner_stats/policy_loss",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn parts_of_the_loss() {
        let part = |name: &str| is_loss_part(name, Objective::Supervised);
        for name in ["train/box_loss", "loss_rpn_cls", "ReconLoss", "kl_loss"] {
            assert!(part(name), "{name}");
        }
        for name in [
            "val/box_loss",
            "loss_scale",
            "best_loss",
            "lossless",
            "errG",
            "loss_std",
        ] {
            assert!(!part(name), "{name}");
        }
        for name in ["errG", "D", "loss_G"] {
            assert!(is_loss_part(name, Objective::Gan), "{name}");
        }
        assert!(!is_loss_part("D(x)", Objective::Gan));
    }
}
