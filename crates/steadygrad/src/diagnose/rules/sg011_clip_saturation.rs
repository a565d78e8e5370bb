//! SG011: clipping has become the step size.

use crate::Evidence;
use crate::detect::ClipSaturation;
use crate::diagnose::run::median;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Rule,
};
use crate::trace::Role;

/// The median norm over the clipped norm above which the clip is the step size: once a tenth of the
/// gradient is left, its length no longer counts.
const MEDIAN_RATIO: f64 = 10.0;

pub(super) const RULE: Rule = Rule {
    code: "SG011",
    name: "clip-saturation",
    what: "Nearly every step is clipped, and to a tenth of its gradient or less.",
    why: "All updates then have the same length. The clip's threshold is the step size, and the \
          length of the gradient, which should shrink near a minimum, no longer counts.",
    evidence: "`grad_norm` and `grad_norm_clipped`.",
    needs: Needs {
        columns: &[Role::GradNorm, Role::GradNormClipped],
        ..Needs::ANY
    },
    blind: "Clipping by value or by parameter; a log with only one of the two norms.",
    remedy: "Clip at the usual norm (its 90th percentile), and lower the learning rate by as much \
             as the larger threshold allows more. Or find why the norm is so large.",
    fix_safety: "A larger threshold alone makes larger steps: lower the learning rate with it.",
    references: &["The guard's own detector of clip saturation"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(300)
                .norm(0, |_, norm| 40.0 * norm)
                .with(Role::GradNormClipped, |_| 1.0)
                .trace()
        },
        silent: || {
            Sketch::healthy(300)
                .with(Role::GradNormClipped, |_| 1.0)
                .trace()
        },
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: None,
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let (norms, clipped) = (
        history.trace().series(&Role::GradNorm)?,
        history.trace().series(&Role::GradNormClipped)?,
    );
    if norms.steps() != clipped.steps() || norms.values().len() < ClipSaturation::default().window {
        return None;
    }
    let pairs = || norms.values().iter().zip(clipped.values());
    let ratios = || {
        pairs()
            .map(|(norm, clipped)| norm / clipped)
            .filter(|ratio| ratio.is_finite())
    };
    let counted = ratios().count();
    // Numbers rounded in a log's text are no clipping.
    let cut = ratios().filter(|ratio| *ratio > 1.01).count();
    let share = cut as f64 / counted.max(1) as f64;
    let ratio = median(ratios())?;
    if share < ClipSaturation::default().share || ratio < MEDIAN_RATIO {
        return None;
    }
    let mut sorted: Vec<f64> = norms
        .values()
        .iter()
        .copied()
        .filter(|norm| norm.is_finite())
        .collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let usual = *sorted.get(sorted.len() * 9 / 10)?;
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Warning,
        title: format!(
            "{:.0} % of the steps are clipped, usually to 1/{ratio:.0} of the gradient",
            100.0 * share
        ),
        step: norms.steps().first().copied(),
        until: norms.steps().last().copied(),
        evidence: vec![
            Evidence::new("share of steps that are clipped", share),
            Evidence::new("median of norm over clipped norm", ratio),
            Evidence::new("90th percentile of the norm", usual),
        ],
        chart: history.chart_of(&Role::GradNorm),
        why: RULE.why.into(),
        help: format!(
            "Clip at {usual:.3} and divide the learning rate by {ratio:.0}: usual steps stay the \
             same, and steps get shorter where the gradient does."
        ),
        ..Finding::default()
    })
}
