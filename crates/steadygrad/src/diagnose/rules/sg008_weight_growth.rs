//! SG008: the weights jumped, or grew and grew.

use super::sg014_schedule_jump::jumped_at;
use crate::Evidence;
use crate::detect::WeightGrowth;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, RemedyFamilies, Rule,
};
use crate::trace::Role;

pub(super) const RULE: Rule = Rule {
    code: "SG008",
    name: "weight-growth",
    what: "The weights' norm doubles from one row to the next, or grows tenfold within 64 rows.",
    why: "Larger weights make larger gradients, and the curvature grows with them: a learning rate that \
          was stable is so no longer. A jump in one step is no optimizer's: something else wrote to them.",
    evidence: "`weight_norm`.",
    blind: "One parameter's weights; slow growth that ends before it is tenfold.",
    remedy: "A jump: go back to a checkpoint before it and look for what writes to the weights (a wrong \
             checkpoint, a bit flip, a bad all-reduce). Growth: weight decay, or a smaller learning rate.",
    fix_safety: "Weight decay changes what is learnt: raise it in steps.",
    references: &["The guard's own detector: a doubling is an update as large as the weights"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(100)
                .with(Role::WeightNorm, |row| if row < 70 { 10.0 } else { 90.0 })
                .trace()
        },
        silent: || {
            Sketch::healthy(100)
                .with(Role::WeightNorm, |row| 10.0 + 0.05 * row as f64)
                .trace()
        },
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: Some(HitRate::new(15, 15)),
    before_training: None,
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let series = history.trace().series(&Role::WeightNorm)?;
    let limits = WeightGrowth::default();
    let (steps, norms) = (series.steps(), series.values());
    let rose = |back: usize, factor: f64| {
        (limits.warmup.max(back)..norms.len())
            .find(|&index| norms[index - back] > 0.0 && norms[index] > factor * norms[index - back])
            .map(|index| (index - back, index))
    };
    // A step that stands out itself explains the jump that its update made.
    let explained = |(then, _): &(usize, usize)| {
        let row = history
            .rows()
            .iter()
            .position(|row| row.step == steps[*then]);
        row.is_some_and(|row| history.streak_at(row).is_some() || jumped_at(history, row).is_some())
    };
    let jump = rose(1, limits.jump).filter(|jump| !explained(jump));
    // Growth that is no jump in disguise.
    let gradual = |(then, now): &(usize, usize)| {
        let pairs = norms[*then..=*now].windows(2);
        norms[*now].is_finite()
            && pairs
                .into_iter()
                .all(|pair| pair[1] <= limits.jump * pair[0])
    };
    let growth = || rose(limits.window, limits.growth).filter(gradual);
    let (then, now) = jump.or_else(growth)?;
    let trouble = history.ending().row().is_some() || !history.streaks().is_empty();
    let (from, to) = (norms[then], norms[now]);
    Some(Finding {
        code: RULE.code.into(),
        level: match (history.ending().row(), jump) {
            (Some(_), _) => FindingLevel::Error,
            (None, Some(_)) => FindingLevel::Warning,
            // Weights that grow while all else is calm do no harm yet.
            (None, None) if trouble => FindingLevel::Warning,
            (None, None) => FindingLevel::Note,
        },
        title: match jump {
            Some(_) => format!(
                "the weights' norm jumped from {from:.3e} to {to:.3e} before step {}",
                steps[now]
            ),
            None => format!(
                "the weights' norm grew from {from:.3e} to {to:.3e} in {} rows",
                limits.window
            ),
        },
        step: Some(steps[then]),
        until: Some(steps[now]),
        evidence: vec![
            Evidence::new("norm before", from),
            Evidence::new("norm after", to),
            Evidence::new("factor", to / from),
        ],
        chart: history.chart_of(&Role::WeightNorm),
        why: RULE.why.into(),
        help: match jump {
            Some(_) => format!(
                "Go back to a checkpoint before step {} and look for what wrote to the weights.",
                steps[now]
            ),
            None => "Raise the weight decay, or lower the learning rate.".into(),
        },
        ..Finding::default()
    })
}
