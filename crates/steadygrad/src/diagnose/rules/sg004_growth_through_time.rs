//! SG004: the gradient grows from time step to time step of a recurrent network.

use super::sg003_growth_through_depth::check_axis;
use crate::diagnose::sketch::{diverging, healthy};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, ModelCase, Needs,
    RemedyFamilies, Rule,
};
use crate::dynamics::Axis;
use crate::remedy::Family;
use crate::trace::Role;
use crate::{Evidence, Place};

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    check_axis(&case.measurements.growth, Axis::Time, RULE.code)
}

/// From this share of the squared norm on, the recurrent weights make the norm by themselves.
const SHARE: f64 = 0.9;

/// Parts of the names of recurrent weights: PyTorch's `weight_hh_l0`, Keras' `recurrent_kernel`,
/// Burn's and Flax' names of the cells' hidden-to-hidden matrices.
const NAMES: [&str; 4] = ["_hh", "recurrent", "hidden_to_hidden", "hidden_transform"];

pub(super) const RULE: Rule = Rule {
    code: "SG004",
    name: "amplification-through-time",
    what: "The gradient grows from time step to time step of a recurrent network, backwards.",
    why: "Each time step applies the same matrix, so the gradient is a power of its Jacobian. A \
          mean factor above 1 grows exponentially with the length of the sequence.",
    evidence: "Before training, the gradient's size at each time step (`steadygrad probe`). In a \
               log, `grad_norm/<parameter>` of a run that explodes: the recurrent weights carry \
               nine tenths of the squared norm.",
    needs: Needs {
        parameters: true,
        ..Needs::ANY
    },
    blind: "In a log, the time step, and recurrent weights with names other than `weight_hh`, \
            `recurrent` or `hidden_to_hidden`.",
    remedy: "Clip by the global norm. Or scale the recurrent matrix to a spectral radius near 1, \
             start it orthogonal, shorten the backward pass, or use a gated cell.",
    fix_safety: "Clipping changes no existing weight. Another initialisation or cell means \
                 training from the start.",
    references: &[
        "Pascanu, Mikolov, Bengio, 2013: On the difficulty of training recurrent neural networks",
    ],
    example: Example::Logs {
        fires: || {
            diverging()
                .with(recurrent(), |row| 0.9 + if row < 100 { 0.0 } else { 1e3 })
                .with(Role::ParameterGradNorm("head.weight".into()), |_| 0.4)
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies {
        through_depth: &[],
        through_time: &[Family::Clip, Family::Regularize, Family::Simplify],
    },
    effect: GradientEffect::Explodes,
    hit_rate: Some(HitRate::new(7, 7)),
    before_training: Some(check),
    of_run: Some(of_run),
};

fn recurrent() -> Role {
    Role::ParameterGradNorm("rnn.weight_hh_l0".into())
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    let rise = history.rise()?;
    let at = history.step(rise.to_row);
    let (name, share) = history.largest_share(at)?;
    if share < SHARE || !NAMES.iter().any(|part| name.contains(part)) {
        return None;
    }
    let from = history.step(rise.from_row);
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: format!(
            "the recurrent weights `{name}` carry {:.0} % of the squared norm of the explosion",
            100.0 * share
        ),
        place: Place::Parameter(name.into()),
        step: Some(from),
        until: Some(at),
        evidence: vec![
            Evidence::new("share of the squared norm", share),
            Evidence::new("factor a row of the log", rise.per_row),
        ],
        why: RULE.why.into(),
        help: format!(
            "Clip by the global norm at {:.3}, the median before {}, and scale the recurrent \
             matrix to a spectral radius near 1.",
            rise.from,
            history.at(from)
        ),
        notes: vec!["`steadygrad probe` measures the factor at each time step of a model.".into()],
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use crate::diagnose::testing::verdict;
    use crate::dynamics::GrowthProfile;

    #[test]
    fn fires_through_time_only() {
        let profile = |axis| {
            GrowthProfile::new(
                axis,
                (0..50).map(|t| (format!("t={t}"), 1.0, 1.3f64.powi(49 - t))),
            )
        };
        assert_eq!(
            verdict(check, |m, _, _| m.growth = profile(Axis::Depth)),
            None
        );
        let finding = verdict(check, |m, _, _| m.growth = profile(Axis::Time)).unwrap();
        assert!(matches!(finding.place, Place::TimeStep(_)));
        assert_eq!(finding.code, "SG004");
    }
}
