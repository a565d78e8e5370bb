//! SG010: a value overflows its number format.

use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, HitRate, ModelCase,
    RemedyFamilies, Row, Rule,
};
use crate::dynamics::{NumberFormat, RangeForecast};
use crate::measurements::GrowthForecast;
use crate::remedy::Family;
use crate::trace::{Role, Series};
use crate::{Evidence, Place};

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let forecast = GrowthForecast::new(case.measurements)?;
    let unit = forecast.axis.unit();
    let first = |signal: &'static str, rows: &[RangeForecast], growth: f64| {
        let row = rows.iter().find(|row| row.format == NumberFormat::F32)?;
        let at = row.overflows_at?;
        (at <= forecast.steps as f64).then_some((signal, at, growth))
    };
    let gradient = first(
        "gradient",
        &forecast.gradient,
        forecast.gradient_growth.rate.value,
    );
    let activation = forecast
        .activation_log_growth
        .and_then(|growth| first("activation", &forecast.activation, growth));
    let (signal, at, growth) = gradient.or(activation)?;
    let at = at.max(0.0);
    Some(Finding {
        code: RULE.code.into(),
        title: format!(
            "the {signal} overflows f32 after {at:.0} of {} {unit}s",
            forecast.steps
        ),
        place: Place::Run,
        step: None,
        evidence: vec![
            Evidence::new(format!("{unit}s until f32 overflows"), at),
            Evidence::new(format!("growth factor per {unit}"), growth.exp()),
        ],
        why: RULE.why.into(),
        help: format!(
            "Bring the growth per {unit} to 1; a wider number format only moves the limit."
        ),
        ..Finding::default()
    })
}

/// A loss scale halves now and then by design; after a fall by 2^8 it has not settled.
const SCALE_FALL: f64 = 256.0;

pub(super) const RULE: Rule = Rule {
    code: "SG010",
    name: "overflow-of-the-number-format",
    what: "A value is too large for its number format: 65,504 in f16, 3.4e38 in f32 and bf16.",
    why: "A value that overflows is infinite; infinity times zero is NaN, and one NaN reaches \
          every weight at the next update.",
    evidence: "Before training, the growth per layer or time step (`steadygrad probe`). In a log, \
               `loss_scale` that keeps falling; or an infinite `grad_norm` beside a finite \
               `loss`, without a rise before it.",
    blind: "Which value it was. Overflow in the forward pass shows as a loss that is not finite.",
    remedy: "Use bf16 instead of f16, or f32 where it overflows; start from a smaller loss scale; \
             bring the growth per layer to 1. A wider format only moves the limit of a growth.",
    fix_safety: "bf16 has three digits where f16 has four; both train, with different round-off.",
    references: &["Micikevicius et al., 2018: Mixed precision training"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(100)
                .norm(
                    60,
                    |since, norm| if since % 4 == 0 { f64::INFINITY } else { norm },
                )
                .with(Role::LossScale, |row| {
                    65536.0 * 0.5f64.powi(row.saturating_sub(58) as i32 / 4)
                })
                .trace()
        },
        silent: || {
            let scale = |row: usize| if row < 60 { 65536.0 } else { 32768.0 };
            let one = |since: usize, norm: f64| if since == 0 { f64::INFINITY } else { norm };
            Sketch::healthy(100)
                .norm(60, one)
                .with(Role::LossScale, scale)
                .trace()
        },
    },
    families: RemedyFamilies {
        through_depth: &[Family::Initialize, Family::Normalize, Family::Simplify],
        through_time: &[Family::Clip, Family::Regularize, Family::Simplify],
    },
    effect: GradientEffect::Explodes,
    hit_rate: Some(HitRate::new(12, 12)),
    before_training: Some(check),
    of_run: Some(of_run),
};

/// An infinite norm beside a finite loss.
fn overflowed(row: &Row) -> bool {
    row.grad_norm == Some(f64::INFINITY) && row.loss.is_some_and(f64::is_finite)
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    let all = history.rows().iter().filter(|row| overflowed(row)).count();
    let count = Evidence::new("rows with an infinite norm and a finite loss", all as f64);
    let first = history.rows().iter().position(overflowed);
    if let Some(scale) = history.trace().series(&Role::LossScale) {
        return fallen_scale(history, scale, first, count);
    }
    let row = first?;
    // After a rise the format is not to blame.
    let announced = history.rise().is_some();
    let title = format!(
        "`grad_norm` is infinite at step {} beside a finite loss: a gradient left its number \
         format",
        history.step(row)
    );
    (!announced).then(|| finding(history, row, title, vec![count]))
}

/// A loss scale that fell and did not settle.
fn fallen_scale(
    history: &History<'_>,
    scale: &Series,
    first: Option<usize>,
    count: Evidence,
) -> Option<Finding> {
    let scales = scale.values();
    let finite = scales.iter().copied().filter(|scale| scale.is_finite());
    let largest = finite.fold(0.0, f64::max);
    let fallen = scales
        .iter()
        .position(|scale| scale * SCALE_FALL <= largest);
    let at = fallen.and_then(|index| scale.steps().get(index))?;
    let row = history.rows().iter().position(|row| row.step >= *at)?;
    let last = scales.last().copied().unwrap_or(f64::NAN);
    Some(finding(
        history,
        first.unwrap_or(row).min(row),
        format!("the loss scale fell from {largest:.0} to {last:.3}: gradients keep overflowing"),
        vec![
            Evidence::new("largest loss scale", largest),
            Evidence::new("last loss scale", last),
            count,
        ],
    ))
}

fn finding(history: &History<'_>, row: usize, title: String, evidence: Vec<Evidence>) -> Finding {
    Finding {
        code: RULE.code.into(),
        level: match history.ending() {
            Ending::NonFinite { .. } => FindingLevel::Error,
            _ => FindingLevel::Warning,
        },
        title,
        step: Some(history.step(row)),
        evidence,
        chart: history.chart(&Role::GradNorm, row.saturating_sub(36)..row + 36),
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;
    use crate::dynamics::{Axis, GrowthProfile};

    fn growing(rate: f64, layers: i32) -> Option<Finding> {
        verdict(check, |measurements, _, _| {
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                (0..layers).map(|l| (format!("hidden.{l}"), 1.0, rate.powi(layers - 1 - l))),
            );
        })
    }

    #[test]
    fn fires_when_the_limit_lies_inside_the_network() {
        // 2^128 leaves f32: 127 layers are fine, 130 are not.
        assert_eq!(growing(2.0, 127), None);
        let finding = growing(2.0, 140).unwrap();
        assert_eq!(finding.code, "SG010");
        assert!((finding.evidence[0].value - 128.0).abs() < 0.1);
        assert_eq!(growing(0.5, 1000), None);
        assert_eq!(growing(1.0, 1000), None);
        assert_eq!(growing(f64::NAN, 10), None);
    }

    /// The gradient is steady; the activations grow, and are infinite at the end.
    #[test]
    fn fires_on_activations_too() {
        let finding = verdict(check, |measurements, _, _| {
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                (0..20).map(|l| {
                    let size = 1e3f64.powi(l);
                    let size = if size < f64::from(f32::MAX) {
                        size
                    } else {
                        f64::INFINITY
                    };
                    (format!("hidden.{l}"), size, 1.0)
                }),
            );
        });
        let finding = finding.unwrap();
        assert!(finding.title.starts_with("the activation overflows"));
        assert!((finding.evidence[0].value - 38.53 / 3.0).abs() < 0.01);
    }
}
