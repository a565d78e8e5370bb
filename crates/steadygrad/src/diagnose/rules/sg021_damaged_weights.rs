//! SG021: the weights changed, and not by training.

use crate::diagnose::run::median;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Rule,
};
use crate::trace::{Role, Series};
use crate::{Evidence, Place};

/// Rows before the jump that say what is usual for a parameter.
const BEFORE: usize = 20;

/// The least rows that do.
const LEAST: usize = 4;

/// The largest rise is at least this factor: one above the bound for a row that stands out.
const RISEN: f64 = 10.0;

/// The largest rise over the smallest. An odd batch raises the norms of all parameters within a
/// factor of ten, since one loss multiplies them all. A damaged weight multiplies the signal at one
/// place.
const APART: f64 = 1e4;

pub(super) const RULE: Rule = Rule {
    code: "SG021",
    name: "damaged-weights",
    what: "From one step to the next the gradient norms of some parameters jump by orders of \
           magnitude while others stay as they are.",
    why: "An odd batch raises the norms of all parameters by about one factor: they share one \
          loss. A jump at one place means that a weight there changed: a bit flip, a bad \
          all-reduce, a wrong tensor in a checkpoint.",
    evidence: "`grad_norm/<parameter>` of at least two parameters, every step.",
    needs: Needs {
        one_step: true,
        parameters: true,
        ..Needs::ANY
    },
    blind: "What wrote to the weights. Damage that is small, or that no gradient passes.",
    remedy: "Go back to a checkpoint before the jump and compare its weights with those after it. \
             Check the memory and the communication of the machine.",
    fix_safety: "Going back loses the steps since.",
    references: &[
        "Meta, 2024: silent data corruptions among the interruptions of Llama 3's training",
    ],
    example: Example::Logs {
        fires: || {
            let jump = |row: usize| if row < 60 { 1.0 } else { 1e8 };
            let parameter = |name: &str| Role::ParameterGradNorm(name.into());
            Sketch::healthy(100)
                .norm(60, |_, norm| 1e8 * norm)
                .with(parameter("layers.0.weight"), |_| 1.0)
                .with(parameter("layers.1.weight"), jump)
                .trace()
        },
        silent: || {
            let one = |row: usize| if row == 60 { 1e8 } else { 1.0 };
            let parameter = |name: &str| Role::ParameterGradNorm(name.into());
            Sketch::healthy(100)
                .norm(60, |since, norm| if since == 0 { 1e8 * norm } else { norm })
                .with(parameter("layers.0.weight"), move |row| 3.0 * one(row))
                .with(parameter("layers.1.weight"), one)
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
    let (row, rises) = history.streaks().iter().find_map(|streak| {
        let rises = rises(history, streak.from)?;
        Some((streak.from, rises))
    })?;
    let (name, largest) = rises.first()?;
    let (calm, smallest) = rises.last()?;
    let place = history.place(row);
    Some(Finding {
        code: RULE.code.into(),
        level: if history.onset() == Some(row) {
            FindingLevel::Error
        } else {
            FindingLevel::Warning
        },
        title: format!(
            "at {place} the gradient of `{name}` jumps x{largest:.1e}, that of `{calm}` \
             x{smallest:.1e}: a weight was damaged"
        ),
        place: Place::Parameter((*name).to_owned()),
        step: Some(history.step(row)),
        evidence: vec![
            Evidence::new("largest rise of a parameter's norm", *largest),
            Evidence::new("smallest rise", *smallest),
        ],
        chart: history.chart(&Role::GradNorm, row.saturating_sub(36)..row + 36),
        why: RULE.why.into(),
        help: format!(
            "Go back to a checkpoint before {place}, and look for what wrote to the weights."
        ),
        ..Finding::default()
    })
}

/// Each parameter's norm at this row over its usual, the largest first, if they are far apart.
fn rises<'a>(history: &History<'a>, row: usize) -> Option<Vec<(&'a str, f64)>> {
    let step = history.step(row);
    let rise = |series: &Series| {
        let at = series.steps().iter().rposition(|at| *at == step)?;
        let before = &series.values()[at.saturating_sub(BEFORE)..at];
        let usual = median(before.iter().copied().filter(|norm| norm.is_finite()))?;
        let rise = series.values()[at] / usual;
        (before.len() >= LEAST && usual > 0.0 && rise.is_finite()).then_some(rise)
    };
    let rises = history.trace().parameters();
    let mut rises: Vec<(&str, f64)> = rises
        .map(|(name, series)| Some((name, rise(series)?)))
        .collect::<Option<_>>()?;
    rises.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (largest, smallest) = (rises.first()?.1, rises.last()?.1);
    (rises.len() > 1 && largest >= RISEN && largest >= APART * smallest).then_some(rises)
}
