//! SG023: a run that has just begun looks like those that diverge.

use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    DivergenceForecast, Ending, Example, Finding, FindingLevel, GradientEffect, History, Needs,
    RemedyFamilies, Rule,
};
use crate::trace::Role;

/// From this probability on the forecast is told as a finding.
const LIKELY: f64 = 0.9;

pub(super) const RULE: Rule = Rule {
    code: "SG023",
    name: "divergence-ahead",
    what: "The first steps look like those of runs that diverge, and the loss is above its start.",
    why: "Loss and gradient norm grew in the first eight steps, or the weights moved far. A run \
          that begins like this seldom comes back.",
    evidence: "`loss` and `grad_norm` of the first eight steps, with `weight_norm` or \
               `learning_rate`, in a log of every step that ends before step 160.",
    needs: Needs {
        one_step: true,
        columns: &[Role::Loss, Role::GradNorm],
        ..Needs::SUPERVISED
    },
    blind: "What comes later: it is a forecast, from the first rows alone.",
    remedy: "Stop, and start again with a tenth of the learning rate or with a warm-up.",
    fix_safety: "A smaller learning rate is stable wherever a larger one is, and slower.",
    references: &["The forecast's own measurements: benches/runs"],
    example: Example::Logs {
        fires: || {
            let times = |factor: f64| {
                move |row: usize, value: f64| {
                    if row < 3 { value } else { factor * value }
                }
            };
            Sketch::healthy(20)
                .loss(0, times(1.4))
                .norm(0, times(9.0))
                .with(Role::WeightNorm, |row| 1.0 + 60.0 * (row % 2) as f64)
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Explodes,
    hit_rate: None,
    before_training: None,
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let rows = history.rows();
    let is_new = rows.last()?.step < DivergenceForecast::BUDGET;
    if !is_new || history.ending() != Ending::Alive || history.rise().is_some() {
        return None;
    }
    let forecast = DivergenceForecast::of(history)?;
    let first = rows.first()?.loss?;
    let last = rows.iter().rev().find_map(|row| row.loss)?;
    if forecast.probability < LIKELY || last <= first {
        return None;
    }
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Warning,
        title: format!(
            "on its way to a divergence: {:.0} % of runs that begin like this diverge within {} \
             steps",
            (100.0 * forecast.probability).min(99.0),
            DivergenceForecast::BUDGET
        ),
        step: rows.first().map(|row| row.step),
        until: rows.last().map(|row| row.step),
        evidence: forecast.features,
        chart: history.chart(&Role::Loss, 0..rows.len()),
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    })
}
