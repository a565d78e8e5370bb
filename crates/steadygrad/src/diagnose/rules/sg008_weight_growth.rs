//! SG008: the weights' norm jumped, or kept growing.

use super::sg014_schedule_jump::jumped_at;
use crate::Evidence;
use crate::detect::WeightGrowth;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, Needs, RemedyFamilies, Rule,
};
use crate::trace::{Role, Series};

pub(super) const RULE: Rule = Rule {
    code: "SG008",
    name: "weight-growth",
    what: "The weights' norm doubles from one row to the next, or grows tenfold within 64 rows.",
    why: "Larger weights make larger gradients, and the curvature grows with them: a learning \
          rate that was stable no longer is. No optimizer makes a jump in one step: something \
          else wrote to the weights.",
    evidence: "`weight_norm`.",
    needs: Needs {
        columns: &[Role::WeightNorm],
        ..Needs::ANY
    },
    blind: "The weights of a single parameter; slow growth that ends before it is tenfold.",
    remedy: "A jump: go back to a checkpoint before it and look for what writes to the weights (a \
             wrong checkpoint, a bit flip, a bad all-reduce). Growth: weight decay, or a smaller \
             learning rate.",
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
    let growth = growth(history, series)?;
    let (steps, norms) = (series.steps(), series.values());
    let (then, now) = growth.rows;
    let (from, to) = (norms[then], norms[now]);
    let trouble = history.ending().row().is_some() || !history.streaks().is_empty();
    let rows = WeightGrowth::default().window;
    let step = steps[now];
    Some(Finding {
        code: RULE.code.into(),
        level: match history.ending().row() {
            Some(_) => FindingLevel::Error,
            None if growth.is_jump || trouble => FindingLevel::Warning,
            // Weights that grow while all else is calm do no harm yet.
            None => FindingLevel::Note,
        },
        title: if growth.is_jump {
            format!(
                "the weights' norm jumped from {from:.3e} to {to:.3e} before {}",
                history.at(step)
            )
        } else {
            format!("the weights' norm grew from {from:.3e} to {to:.3e} in {rows} rows")
        },
        step: Some(steps[then]),
        until: Some(step),
        evidence: vec![
            Evidence::new("norm before", from),
            Evidence::new("norm after", to),
            Evidence::new("factor", to / from),
        ],
        chart: history.chart_of(&Role::WeightNorm),
        why: RULE.why.into(),
        help: if growth.is_jump {
            format!(
                "Go back to a checkpoint before {} and look for what wrote to the weights.",
                history.at(step)
            )
        } else {
            "Raise the weight decay, or lower the learning rate.".into()
        },
        ..Finding::default()
    })
}

/// The rows between which the weights' norm grew.
struct NormGrowth {
    rows: (usize, usize),
    is_jump: bool,
}

/// A jump that nothing else explains, or else growth over many rows without a jump in it.
fn growth(history: &History<'_>, series: &Series) -> Option<NormGrowth> {
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
    let gradual = |(then, now): &(usize, usize)| {
        let mut pairs = norms[*then..=*now].windows(2);
        norms[*now].is_finite() && pairs.all(|pair| pair[1] <= limits.jump * pair[0])
    };
    // Many steps between two rows may well double the norm.
    let jump = rose(1, limits.jump).filter(|jump| history.is_by_step() && !explained(jump));
    let is_jump = jump.is_some();
    let rows = jump.or_else(|| rose(limits.window, limits.growth).filter(gradual))?;
    Some(NormGrowth { rows, is_jump })
}
