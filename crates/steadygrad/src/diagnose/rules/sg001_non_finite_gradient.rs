//! SG001: a gradient or the loss is, or became, NaN or infinite.

use crate::detect::Detector;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, HitRate, ModelCase,
    RemedyFamilies, Rule,
};
use crate::dynamics::Axis;
use crate::measurements::Measurements;
use crate::{Evidence, Place};

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let (title, place, step, evidence) = match case.detections {
        Some(detections) => {
            let seen = detections
                .iter()
                .find(|detection| detection.detector == Detector::NonFinite)?;
            (
                format!("non-finite values at step {}: {}", seen.step, seen.message),
                seen.place.clone(),
                Some(seen.step),
                vec![Evidence::new("first non-finite step", seen.step as f64)],
            )
        }
        None => before_training(case.measurements)?,
    };
    Some(Finding {
        code: RULE.code.into(),
        title,
        place,
        step,
        evidence,
        why: "One such value reaches every weight it is multiplied with at the next update; from \
              then on the model is lost."
            .into(),
        help: "This is the end of the chain, not its start: mend the first finding. Where there is no \
               other, look at the batch, and at a logarithm, root or quotient of what may be 0."
            .into(),
        ..Finding::default()
    })
}

type Seen = (String, Place, Option<u64>, Vec<Evidence>);

/// What the very first pass shows: forwards, the first signal that is not finite; else backwards,
/// the last gradient.
fn before_training(measurements: &Measurements) -> Option<Seen> {
    let points = || measurements.growth.points.iter().enumerate();
    let place = |(index, name): (usize, &str)| match measurements.growth.axis {
        Axis::Depth => Place::Layer(name.to_owned()),
        Axis::Time => Place::TimeStep(index),
    };
    let forward = points().find(|(_, point)| !point.activation_rms.is_finite());
    let backward = points().rfind(|(_, point)| !point.gradient_norm.is_finite());
    let (what, at, value) = if let Some((index, point)) = forward {
        let at = place((index, &point.name));
        ("the activation", at, point.activation_rms)
    } else if !measurements.loss.is_finite() {
        ("the loss", Place::Run, measurements.loss)
    } else if let Some((index, point)) = backward {
        let at = place((index, &point.name));
        ("the gradient", at, point.gradient_norm)
    } else if !measurements.global_norm.is_finite() {
        ("the gradient", Place::Run, measurements.global_norm)
    } else {
        return None;
    };
    Some((
        format!("the first pass is not finite already: {what} at {at} is {value}"),
        at,
        None,
        vec![
            Evidence::new("loss of the first batch", measurements.loss),
            Evidence::new("its global gradient norm", measurements.global_norm),
        ],
    ))
}

pub(super) const RULE: Rule = Rule {
    code: "SG001",
    name: "non-finite-gradient",
    what: "A gradient or the loss is NaN or infinite.",
    why: "One such value reaches every weight it is multiplied with at the next update; from then on \
          the model is lost.",
    evidence: "`loss` or `grad_norm`; with `grad_norm/<parameter>` it names the parameter nearest the \
               output, where the backward pass began to carry it.",
    blind: "Which operation made the value: `steadygrad replay` finds it in a run of its own. Values \
            that a logger dropped or wrote as zero.",
    remedy: "It is the end of a chain: mend the finding before it. Until then, never apply such a \
             step: a guard skips it.",
    fix_safety: "Skipping a step with a non-finite gradient loses that batch and nothing else.",
    references: &["IEEE 754: infinity times zero is NaN"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(60)
                .loss(50, |_, _| f64::NAN)
                .norm(50, |_, _| f64::NAN)
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Explodes,
    hit_rate: Some(HitRate::new(23, 23)),
    before_training: Some(check),
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let broken = |value: Option<f64>| value.filter(|value| !value.is_finite());
    let rows = history.rows().iter().enumerate();
    let all: Vec<usize> = rows
        .filter(|(_, row)| broken(row.loss).or(broken(row.grad_norm)).is_some())
        .map(|(index, _)| index)
        .collect();
    let lost = match history.ending() {
        Ending::NonFinite { row } => Some(row),
        _ => None,
    };
    let first = lost.or(all.first().copied())?;
    let row = history.rows().get(first)?;
    let (column, value) = match (broken(row.loss), broken(row.grad_norm)) {
        (Some(loss), _) => ("loss", loss),
        (None, norm) => ("grad_norm", norm?),
    };
    let trace = history.trace();
    let broken_parameters: Vec<&str> = trace
        .parameters()
        .filter(|(_, series)| {
            let at = series.steps().iter().rposition(|step| *step == row.step);
            at.and_then(|index| series.values().get(index))
                .is_some_and(|value| !value.is_finite())
        })
        .map(|(name, _)| name)
        .collect();
    let scaled = trace.series(&crate::trace::Role::LossScale).is_some();
    let by_scaler = scaled && lost.is_none() && column == "grad_norm";
    let mut notes = Vec::new();
    if by_scaler {
        notes.push("Under loss scaling single overflows are normal: the scaler skips them.".into());
    }
    if trace.parameters().next().is_none() {
        notes.push("Log `grad_norm/<parameter>` to see in which layer it began.".into());
    }
    Some(Finding {
        code: RULE.code.into(),
        level: match lost {
            Some(_) => FindingLevel::Error,
            None if by_scaler => FindingLevel::Note,
            None => FindingLevel::Warning,
        },
        title: match lost {
            Some(_) => format!(
                "`{column}` is {value} from step {} to the end of the log",
                row.step
            ),
            None => format!(
                "`{column}` is {value} at step {}; of {} rows {} are not finite",
                row.step,
                history.rows().len(),
                all.len()
            ),
        },
        place: match broken_parameters.last() {
            Some(name) => Place::Parameter((*name).into()),
            None => Place::Run,
        },
        step: Some(row.step),
        until: lost.and(history.rows().last()).map(|row| row.step),
        evidence: vec![
            Evidence::new("rows that are not finite", all.len() as f64),
            Evidence::new("rows before the first of them", *all.first()? as f64),
        ],
        chart: history.chart(
            &crate::trace::Role::Loss,
            first.saturating_sub(36)..first + 4,
        ),
        why: RULE.why.into(),
        help: "This is the end of the chain, not its start: mend the first finding. Until then, \
               skip steps that are not finite."
            .into(),
        notes,
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, setup};
    use crate::detect::testing::reading;
    use crate::detect::{DetectorConfig, DetectorState, Signals};
    use crate::diagnose::testing::verdict;

    #[test]
    fn fires_on_a_nan_only() {
        assert_eq!(verdict(check, |_, _, _| ()), None);
        let found = verdict(check, |_, _, detections| {
            let reading = reading(4, 1.0, f32::NAN);
            let (detectors, state) = (DetectorConfig::default(), DetectorState::default());
            detections.extend(detectors.check(&state, &Signals::of(&reading)));
        });
        assert_eq!(found.unwrap().step, Some(4));
    }

    #[test]
    fn fires_on_a_first_pass_that_is_not_finite() {
        let before = |change: &dyn Fn(&mut Measurements)| {
            let mut measurements = healthy_measurements();
            change(&mut measurements);
            check(&ModelCase::new(&measurements, &setup()))
        };
        assert_eq!(before(&|_| ()), None);
        let place = |change: &dyn Fn(&mut Measurements)| before(change).unwrap().place;
        let name = |index: usize| {
            let point = &healthy_measurements().growth.points[index];
            Place::Layer(point.name.clone())
        };
        assert_eq!(place(&|m| m.loss = f64::NAN), Place::Run);
        assert_eq!(place(&|m| m.global_norm = f64::INFINITY), Place::Run);
        // Forwards the first, backwards the last, and forwards before backwards.
        let gradients = |m: &mut Measurements| {
            for point in &mut m.growth.points[..2] {
                point.gradient_norm = f64::INFINITY;
            }
        };
        assert_eq!(place(&gradients), name(1));
        assert_eq!(
            place(&|m| {
                gradients(m);
                for point in &mut m.growth.points[1..] {
                    point.activation_rms = f64::INFINITY;
                }
                m.loss = f64::NAN;
            }),
            name(1)
        );
    }
}
