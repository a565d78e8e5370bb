//! SG017: a NaN that no computation should give.

use crate::Evidence;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Row,
    Rule,
};
use crate::trace::Role;

pub(super) const RULE: Rule = Rule {
    code: "SG017",
    name: "suspected-backend-fault",
    what: "The gradient is NaN at a step whose loss is finite, and no step before it announced \
           that.",
    why: "A finite loss has passed through every operation of the forward pass. A NaN that \
          appears only on the way back has one of three causes. An operation was differentiated \
          where it has no derivative: a square root or logarithm of zero, the norm of a zero \
          vector, a masked softmax. An input was infinite, and a saturating activation hid its \
          size. Or a kernel is faulty.",
    evidence: "`loss` and `grad_norm`, every step. With `grad_norm/<parameter>` it can rule out \
               an infinite input, which breaks the first layer's gradient alone (SG009).",
    needs: Needs {
        one_step: true,
        columns: &[Role::Loss, Role::GradNorm],
        ..Needs::ANY
    },
    blind: "Which of the three it is: a suspicion, to be tested.",
    remedy: "Run that batch again in f64 or on another backend: a NaN that stays is the model's, \
             one that goes away the kernel's. Add a small epsilon inside square roots, logarithms \
             and norms.",
    fix_safety: "An epsilon below the values' size changes nothing else.",
    references: &["burn#5162, burn#5202, candle#3847: kernels that gave wrong values"],
    example: Example::Logs {
        fires: || Sketch::healthy(60).norm(50, |_, _| f64::NAN).trace(),
        // A poisoned batch: the loss is NaN first.
        silent: || {
            Sketch::healthy(60)
                .norm(50, |_, _| f64::NAN)
                .loss(50, |_, _| f64::NAN)
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
    // A scaler skips its own overflows.
    if history.trace().series(&Role::LossScale).is_some() {
        return None;
    }
    let odd =
        |row: &Row| row.grad_norm.is_some_and(f64::is_nan) && row.loss.is_some_and(f64::is_finite);
    let first = history.rows().iter().position(odd)?;
    let streak = history.streak_at(first)?;
    if streak.from != first || history.rise().is_some() {
        return None;
    }
    // A run that goes on left the step out, as a loss scaler does; the NaN reached no weight.
    match history.ending() {
        Ending::NonFinite { row } if row == first => {}
        _ => return None,
    }
    let step = history.step(first);
    // SG009 reports it: the layer's input was probably infinite.
    if history.broken_at_the_input(first).is_some() {
        return None;
    }
    let again = history.rows().iter().filter(|row| odd(row)).count();
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: format!(
            "the gradient is NaN at step {step} although the loss is finite and nothing \
             announced it"
        ),
        step: Some(step),
        evidence: vec![
            Evidence::new(
                "loss at that step",
                history.rows()[first].loss.unwrap_or(f64::NAN),
            ),
            Evidence::new("such rows in all", again as f64),
        ],
        chart: history.chart(&Role::GradNorm, first.saturating_sub(36)..first + 4),
        why: RULE.why.into(),
        help: format!(
            "Run the batch of step {step} again in f64 and on another backend; add an epsilon \
             inside square roots, logarithms and norms."
        ),
        ..Finding::default()
    })
}
