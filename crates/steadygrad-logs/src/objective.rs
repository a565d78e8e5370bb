//! The kind of training, inferred from the names in a log.

use steadygrad::trace::Objective;

use crate::names::words;

/// Words of a generator and of its opponent.
const GENERATOR: [&str; 4] = ["g", "gen", "generator", "netg"];
const OPPONENT: [&str; 7] = [
    "d",
    "dis",
    "disc",
    "discriminator",
    "netd",
    "critic",
    "adversary",
];

/// Words beside one of these that make a name a loss or a score of that network.
const OF_A_NETWORK: [&str; 8] = [
    "loss", "losses", "err", "error", "gan", "adv", "real", "fake",
];

/// What an agent earns. No other training logs it.
const EARNED: [&str; 7] = [
    "reward", "rewards", "rew", "return", "returns", "episodic", "rlhf",
];

/// Words of preference learning, such as DPO: its implicit rewards belong to one loss that falls.
const PREFERENCE: [&str; 8] = [
    "chosen",
    "rejected",
    "margin",
    "margins",
    "accuracy",
    "accuracies",
    "type",
    "win",
];

/// What kind of training these are the columns of.
///
/// - A log of a GAN has a loss of a generator and one of its opponent: `loss_G` and `D_loss`, or
///   the bare letters `G` and `D`.
/// - A log of reinforcement learning has a reward, a return or a `td_loss`; or two signs such as
///   `approx_kl` and `clip_fraction`. Divergence and entropy alone do not count: a variational
///   autoencoder and a distillation log `kl`, a classifier may log `entropy`. One of the two signs
///   must be of a policy or a value function.
/// - Every other log is of one loss that falls.
pub(crate) fn objective<'a>(names: impl Iterator<Item = &'a str>) -> Objective {
    let names: Vec<Vec<String>> = names.map(words).collect();
    let is_any = |test: &dyn Fn(&[String]) -> bool| names.iter().any(|words| test(words));
    if is_any(&|words| is_of(words, &GENERATOR)) && is_any(&|words| is_of(words, &OPPONENT)) {
        return Objective::Gan;
    }
    let shared = [&["kl", "approxkl"][..], &["entropy"]];
    let own = [
        &[
            "value_loss",
            "vf_loss",
            "v_loss",
            "critic",
            "value_function",
        ][..],
        &[
            "policy_loss",
            "pg_loss",
            "actor_loss",
            "policy_gradient_loss",
            "surrogate",
            "actor",
        ],
        &[
            "clip_fraction",
            "clipfrac",
            "clip_ratio",
            "clip_frac",
            "clipped_ratio",
        ],
        &["explained_variance", "explained_var", "vf_explained_var"],
        &["advantage", "advantages"],
        &[
            "q_values", "q_value", "q_loss", "qf_loss", "qf1_loss", "q1_loss", "mean_q",
        ],
    ];
    let count = |kinds: &[&[&str]]| {
        let is_there = |kind: &&&[&str]| is_any(&|words| has_one(words, kind));
        kinds.iter().filter(is_there).count()
    };
    let is_earned = is_any(&|words| is_reward(words) || has_one(words, &["td_loss", "td_error"]));
    let own = count(&own);
    if is_earned || (own >= 1 && own + count(&shared) >= 2) {
        return Objective::Rl;
    }
    Objective::Supervised
}

fn has(words: &[String], some: &[&str]) -> bool {
    words.iter().any(|word| some.contains(&word.as_str()))
}

/// Whether one of these names, of one or more words, stands in the words.
fn has_one(words: &[String], names: &[&str]) -> bool {
    let joined = format!("_{}_", words.join("_"));
    names
        .iter()
        .any(|name| joined.contains(&format!("_{name}_")))
}

fn is_of(words: &[String], network: &[&str]) -> bool {
    // `G_A` and `D_B` are the pairs of a CycleGAN.
    let is_bare = matches!(words, [one] if one.len() == 1)
        || matches!(words, [one, side] if one.len() == 1 && (side == "a" || side == "b"));
    has(words, network) && (is_bare || has(words, &OF_A_NETWORK))
}

fn is_reward(words: &[String]) -> bool {
    has(words, &EARNED) && !has(words, &PREFERENCE) && !has(words, &["model"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &str) -> Objective {
        objective(names.split(','))
    }

    #[test]
    fn two_networks_against_each_other() {
        for names in [
            "loss_G,loss_D",
            "step,G_loss,d_loss",
            "errD,errG,D(x)",
            "gen_loss,disc_loss,lr",
            "Gen_loss,Dis_loss",
            "generator/loss,critic/loss,gradient_penalty",
            "G,D",
            "train/lossG,train/lossD",
            "D_A,G_A,cycle_A,idt_A",
            "G_GAN,G_L1,D_real,D_fake",
        ] {
            assert_eq!(of(names), Objective::Gan, "{names}");
        }
        for names in [
            "loss,g_norm,d_model",
            "loss,d_loss",
            "eval_gen_len,loss,disc_usage",
            "loss_giou,loss_dfl",
            "actor_loss,critic_loss",
        ] {
            assert_ne!(of(names), Objective::Gan, "{names}");
        }
    }

    #[test]
    fn a_policy_or_a_value_function() {
        for names in [
            "loss,reward",
            "step,td_loss,grad_norm",
            "train/approx_kl,train/clip_fraction",
            "train/loss,train/entropy_loss,train/value_loss",
            "rollout/ep_rew_mean,train/loss",
            "actor_loss,critic_loss",
            "losses/policy_loss,losses/value_loss",
            "loss,episodic_return",
            "rewards/format_reward/mean,kl,loss",
        ] {
            assert_eq!(of(names), Objective::Rl, "{names}");
        }
        for names in [
            "loss,kl,recon_loss",
            "loss,kl,entropy,accuracy",
            "loss,entropy",
            "loss,rewards/chosen,rewards/rejected,rewards/margins,rewards/accuracies",
            "loss,value_loss",
            "loss,grad_norm,lr",
            "",
        ] {
            assert_eq!(of(names), Objective::Supervised, "{names}");
        }
    }
}
