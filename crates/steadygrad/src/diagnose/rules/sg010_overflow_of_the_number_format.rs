//! SG010: a value overflows its number format.

use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, ModelCase, Needs,
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

/// A loss scale that does nothing.
const UNSCALED: f64 = 1.0;

/// Rows at one scale that do not mean yet that it has settled.
const STILL: usize = 3;

pub(super) const RULE: Rule = Rule {
    code: "SG010",
    name: "overflow-of-the-number-format",
    what: "A value is too large for its number format: 65,504 in f16, 3.4e38 in f32 and bf16.",
    why: "A value that overflows is infinite; infinity times zero is NaN, and one NaN reaches \
          every weight at the next update.",
    evidence: "Before training, the growth per layer or time step (`steadygrad probe`). In a log, \
               `loss_scale` that keeps falling; or, in a log of every step, an infinite \
               `grad_norm` beside a finite `loss`, without growth before it.",
    needs: Needs::ANY,
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
    // After a growth the format is not to blame.
    if history.rise().is_some() {
        return None;
    }
    let all = history.rows().iter().filter(|row| overflowed(row)).count();
    let count = Evidence::new("rows with an infinite norm and a finite loss", all as f64);
    if let Some(scale) = history.trace().series(&Role::LossScale) {
        return fallen_scale(history, scale, count);
    }
    let row = history.rows().iter().position(overflowed)?;
    // A run that goes on left the step out, as a loss scaler does.
    let is_lost = history.ending().row() == Some(row) && history.is_by_step();
    let title = format!(
        "`{}` is infinite at {} beside a finite loss: a gradient left its number format",
        history.column(&Role::GradNorm),
        history.place(row)
    );
    is_lost.then(|| finding(history, row, FindingLevel::Error, title, vec![count]))
}

/// A loss scale that fell and did not settle.
fn fallen_scale(history: &History<'_>, scale: &Series, count: Evidence) -> Option<Finding> {
    let points = scale.steps().iter().copied().zip(scale.values());
    let points: Vec<(u64, f64)> = points
        .filter(|(_, scale)| **scale > 0.0 && scale.is_finite())
        .map(|(step, scale)| (step, *scale))
        .collect();
    let (_, last) = *points.last()?;
    // The last stretch in which it only falls.
    let falls = points.windows(2).rev();
    let falling = falls.take_while(|pair| pair[1].1 <= pair[0].1).count();
    let stretch = &points[points.len() - 1 - falling..];
    let largest = stretch[0].1;
    let first = collapse(stretch)?;
    // A scale that begins too large falls at the start until it fits, and then stays.
    let still = points
        .iter()
        .rev()
        .take_while(|point| point.1 == last)
        .count();
    let goes_on = still <= (points.len() / 10).max(STILL);
    if largest < SCALE_FALL * last || !(goes_on || last <= UNSCALED) {
        return None;
    }
    let step = stretch[first].0;
    let row = history.rows().iter().position(|row| row.step >= step)?;
    // Under a scale of 1 the gradients themselves overflow, and every step is left out.
    let level = if last <= UNSCALED || history.ending().row().is_some() {
        FindingLevel::Error
    } else {
        FindingLevel::Warning
    };
    let title = format!(
        "the loss scale falls from {largest} to {last} from {} on: f16 cannot hold the scaled \
         gradients",
        history.place(row)
    );
    let evidence = vec![
        Evidence::new("loss scale before", largest),
        Evidence::new("last loss scale", last),
        count,
    ];
    Some(finding(history, row, level, title, evidence))
}

/// The first fall after the scale last stood still for long: falls before that were a scale that
/// settled.
fn collapse(stretch: &[(u64, f64)]) -> Option<usize> {
    let last = stretch.last()?.1;
    let bottom = stretch.iter().position(|(_, scale)| *scale == last)?;
    let (start, end) = (stretch.first()?.0, stretch.last()?.0);
    let long = (end.saturating_sub(start) / 4).max(1);
    let mut first: Option<usize> = None;
    // A log may hold the scale of skipped steps alone: then a gap is where it stood still.
    for index in (1..=bottom).rev() {
        if stretch[index - 1].1 > stretch[index].1 {
            first = Some(index);
        }
        let since = stretch[first.unwrap_or(bottom)].0;
        if since.saturating_sub(stretch[index - 1].0) >= long {
            break;
        }
    }
    first
}

fn finding(
    history: &History<'_>,
    row: usize,
    level: FindingLevel,
    title: String,
    evidence: Vec<Evidence>,
) -> Finding {
    Finding {
        code: RULE.code.into(),
        level,
        title,
        step: Some(history.step(row)),
        evidence,
        chart: history
            .chart(&Role::GradNorm, row.saturating_sub(36)..row + 36)
            .or_else(|| history.chart(&Role::Loss, row.saturating_sub(36)..row + 36)),
        why: "The scaler halves its scale at each overflow and leaves the step out. A scale that \
              falls again and again means that no step is applied. The loss beside it is calm: \
              the numbers do not fit the format, and the training itself did not explode."
            .into(),
        help: "Train in bf16, or in f32 where it overflows. If the scale falls to its minimum, \
               look for a NaN too: no scale removes one."
            .into(),
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::sketch::series;

    #[test]
    fn a_collapse_begins_after_the_scale_had_settled() {
        let scale = |row: usize| match row {
            0..5 => 65536.0,
            5..60 => 16384.0,
            _ => (16384.0 * 0.5f64.powi(row as i32 - 59)).max(1.0),
        };
        let trace = Sketch::healthy(100).with(Role::LossScale, scale).trace();
        let found = RULE.check_run(&History::of(&trace)).unwrap();
        assert_eq!((found.step, found.level), (Some(60), FindingLevel::Error));
        // The log holds the scale of skipped steps alone: two at the start, sixteen at the end.
        let steps: Vec<u64> = [4, 9].into_iter().chain(80..96).collect();
        let scales: Vec<f64> = (1..=18).map(|fall| 65536.0 * 0.5f64.powi(fall)).collect();
        let mut trace = Sketch::healthy(100).trace();
        trace.series.push(series(Role::LossScale, &steps, &scales));
        let found = RULE.check_run(&History::of(&trace)).unwrap();
        assert_eq!(found.step, Some(80));
        // It settles, and stays.
        let settles = |row: usize| 65536.0 * 0.5f64.powi(row.min(14) as i32);
        let trace = Sketch::healthy(200).with(Role::LossScale, settles).trace();
        assert_eq!(RULE.check_run(&History::of(&trace)), None);
    }
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
