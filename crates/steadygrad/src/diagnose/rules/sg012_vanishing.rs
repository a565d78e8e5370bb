//! SG012: the gradient vanishes on its way back, or in the course of training.

use crate::diagnose::run::median;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, ModelCase, Needs, RemedyFamilies, Row,
    Rule,
};
use crate::dynamics::Axis;
use crate::remedy::Family;
use crate::trace::Role;
use crate::{Evidence, Place};

/// A first layer's gradient below this share of the last layer's is a fault (AutoTrainer's rule for
/// vanishing gradients, ICSE 2021: its `beta_1`).
const MIN_RATIO: f64 = 1e-3;

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let profile = &case.measurements.growth;
    // The gradient of a loss that is NaN says nothing.
    if !case.measurements.loss.is_finite() {
        return None;
    }
    let (first, last) = (profile.points.first()?, profile.points.last()?);
    // A gradient of exactly zero has vanished, whatever the other end is: 0 / 0 too.
    let ratio = if first.gradient_norm == 0.0 {
        0.0
    } else {
        first.gradient_norm / last.gradient_norm
    };
    if ratio.is_nan() || ratio >= MIN_RATIO || !last.gradient_norm.is_finite() {
        return None;
    }
    let steps = profile.points.len() - 1;
    let unit = profile.axis.unit();
    let mut evidence = vec![
        Evidence::new("first gradient norm over the last", ratio),
        Evidence::new(format!("{unit}s"), steps as f64),
    ];
    if let Some(rate) = profile.backward_growth_rate() {
        evidence.insert(0, Evidence::new(format!("growth factor per {unit}"), rate));
    }
    Some(Finding {
        code: RULE.code.into(),
        title: format!("the gradient vanishes: x{ratio:.1e} over {steps} {unit}s"),
        place: match profile.axis {
            Axis::Depth => Place::Layer(first.name.clone()),
            Axis::Time => Place::TimeStep(0),
        },
        step: None,
        evidence,
        why: format!(
            "A mean factor below 1 per {unit} makes the gradient shrink exponentially. The first \
             {unit}s hardly learn, whatever the loss."
        ),
        help: match profile.axis {
            Axis::Depth => {
                "Bring the factor to 1: initialise at the critical scale, normalise, or \
                            add residual connections."
                    .into()
            }
            Axis::Time => {
                "Bring the factor to 1: a larger or orthogonal recurrent matrix, or a gated cell \
                 whose forget gate starts open (a bias of 1 or more)."
                    .into()
            }
        },
        ..Finding::default()
    })
}

/// The largest norm at the end over the norm at the start, in a run that learnt nothing. SageMaker
/// Debugger's rule for vanishing gradients has 1e-7 as an absolute bound; this one is relative.
const MIN_END: f64 = 1e-6;

/// A run whose loss stays above this share of its start has learnt nothing.
const UNLEARNT: f64 = 0.9;

pub(super) const RULE: Rule = Rule {
    code: "SG012",
    name: "vanishing-gradient",
    what: "The gradient vanishes: on its way back through the network, or in the course of \
           training, while the loss stays high.",
    why: "A weight whose gradient is next to nothing does not learn, whatever the loss.",
    evidence: "Before training, the gradient's size at each layer or time step (`steadygrad \
               probe`). In a log, `grad_norm` and `loss`: the norm falls below a millionth of its \
               start, and the loss has not fallen by a tenth.",
    needs: Needs::SUPERVISED,
    blind: "In a log, layers that do not learn while others do.",
    remedy: "Bring the factor per layer to 1: initialise at the critical scale, normalise, add \
             residual connections. In the course of training an overshoot is the usual cause: it \
             kills or saturates units. Fix the finding before this one.",
    fix_safety: "It means training from the start: dead units do not come back.",
    references: &[
        "AutoTrainer, ICSE 2021: first over last gradient below a thousandth",
        "SageMaker Debugger, VanishingGradient",
    ],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(100)
                .loss(0, |_, _| 2.3)
                .norm(10, |_, _| 1e-9)
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies {
        through_depth: &[Family::Initialize, Family::Normalize],
        through_time: &[Family::Initialize],
    },
    effect: GradientEffect::Vanishes,
    hit_rate: None,
    before_training: Some(check),
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    // Rows far apart show the norm of one batch in many; the layers' norms say more.
    if !history.is_by_step() && history.trace().parameters().next().is_none() {
        return None;
    }
    let rows = history.rows();
    let few = (rows.len() / 10).max(1);
    let norm = |rows: &[Row]| median(rows.iter().filter_map(|row| row.grad_norm));
    let loss = |rows: &[Row]| median(rows.iter().filter_map(|row| row.loss));
    let (begin, end) = (
        &rows[..few.min(rows.len())],
        &rows[rows.len() - few.min(rows.len())..],
    );
    let (from, to) = (norm(begin)?, norm(end)?);
    let unlearnt = loss(end)? > UNLEARNT * loss(begin)?;
    if !(unlearnt && from > 0.0 && to <= MIN_END * from) {
        return None;
    }
    let bound = MIN_END * from;
    let low = rows
        .iter()
        .rev()
        .take_while(|row| row.grad_norm.is_none_or(|norm| norm <= bound));
    let row = rows.len() - low.count().max(1);
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: format!(
            "the gradient has vanished: norm {to:.1e}, at the start {from:.1e}, and the loss is \
             still high"
        ),
        step: Some(history.step(row)),
        until: rows.last().map(|row| row.step),
        evidence: vec![
            Evidence::new("norm at the end over that at the start", to / from),
            Evidence::new(
                "loss at the end over that at the start",
                loss(end)? / loss(begin)?,
            ),
        ],
        chart: history.chart(&Role::GradNorm, 0..rows.len()),
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;
    use crate::dynamics::GrowthProfile;

    fn with(first: f64, last: f64) -> Option<Finding> {
        verdict(check, |measurements, _, _| {
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                [("a".to_owned(), 1.0, first), ("b".to_owned(), 1.0, last)],
            );
        })
    }

    #[test]
    fn fires_below_the_ratio_only() {
        assert_eq!(with(1e-3, 1.0), None);
        let finding = with(9e-4, 1.0).unwrap();
        assert_eq!(
            (finding.code.as_str(), finding.place),
            ("SG012", Place::Layer("a".into()))
        );
        // A gradient that underflowed to zero has no rate, and is still a finding.
        assert_eq!(with(0.0, 1.0).unwrap().evidence.len(), 2);
        // No gradient flows back at all.
        assert_eq!(with(0.0, 0.0).unwrap().code, "SG012");
        for (first, last) in [(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
            assert_eq!(with(first, last), None);
        }
    }
}
