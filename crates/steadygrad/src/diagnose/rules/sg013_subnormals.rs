//! SG013: gradient values are subnormal.

use crate::diagnose::{
    Example, Finding, GradientEffect, MeasuredExample, ModelCase, Needs, RemedyFamilies, Rule,
};
use crate::{Evidence, Place};

/// Arithmetic on subnormal f32 values is at least ten times slower on common CPUs, so one value in
/// a hundred already costs a tenth of the time.
const MAX_SHARE: f64 = 0.01;

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let share = case.measurements.subnormal_share;
    if share.is_nan() || share <= MAX_SHARE {
        return None;
    }
    Some(Finding {
        code: RULE.code.into(),
        title: format!(
            "{:.1} % of the gradient's values are subnormal",
            100.0 * share
        ),
        place: Place::Run,
        step: None,
        evidence: vec![Evidence::new("share of subnormal values", share)],
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    })
}

pub(super) const RULE: Rule = Rule {
    code: "SG013",
    name: "subnormal-gradients",
    what: "More than a hundredth of the gradient's values are subnormal.",
    why: "Values below 1.2e-38 have lost most of their digits, teach nothing, and slow a CPU down \
          many times.",
    evidence: "Before training, the first gradient's values (`steadygrad probe`).",
    needs: Needs::ANY,
    blind: "Logs: a count without the number of values is no share.",
    remedy: "Fix what makes the gradient vanish; until then, flush subnormal values to zero.",
    fix_safety: "Flushing changes only values below 1.2e-38.",
    references: &["IEEE 754; measured: docs/LOG.md"],
    example: Example::Measured {
        fires: MeasuredExample {
            text: "half of the first gradient's values are subnormal",
            change: |model| model.subnormal_share = 0.5,
        },
        silent: MeasuredExample {
            text: "one value in a hundred is",
            change: |model| model.subnormal_share = 0.01,
        },
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: Some(check),
    of_run: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;

    #[test]
    fn fires_above_the_share_only() {
        let with = |share| {
            verdict(check, |measurements, _, _| {
                measurements.subnormal_share = share
            })
        };
        for silent in [0.0, 0.01, f64::NAN] {
            assert_eq!(with(silent), None);
        }
        assert_eq!(with(0.5).unwrap().code, "SG013");
    }
}
