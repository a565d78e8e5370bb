//! SG001: a gradient or the loss is NaN or infinite.

use crate::detect::Detector;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, HitRate, ModelCase, Needs,
    RemedyFamilies, Rule,
};
use crate::dynamics::Axis;
use crate::measurements::Measurements;
use crate::trace::{Role, Trace};
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
        why: RULE.why.into(),
        help: "Fix the first finding: this is the end of the chain, not its start. If there is no \
               other, look at the batch, and at logarithms, roots and quotients of values that \
               may be 0."
            .into(),
        ..Finding::default()
    })
}

type Seen = (String, Place, Option<u64>, Vec<Evidence>);

/// The first value of the very first pass that is not finite: forwards the first signal, then the
/// loss, then backwards the last gradient.
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
        format!("the first pass is not finite: {what} at {at} is {value}"),
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
    what: "A gradient or the loss is NaN or infinite. In a log, at the end of a growth.",
    why: "At the next update, such a value reaches every weight that it is multiplied with. From \
          then on the model is lost.",
    evidence: "`loss` or `grad_norm`, and growth before it; a value that nothing announced is \
               SG020's. With `grad_norm/<parameter>` it names the parameter nearest the output, \
               where the backward pass first carried the value.",
    needs: Needs::ANY,
    blind: "Which operation made the value: `steadygrad replay` finds it in a run of \
            steadygrad's. Values that a logger dropped or wrote as zero.",
    remedy: "Fix the finding before this one: this is the end of the chain. Until then, skip such \
             steps, as a guard does.",
    fix_safety: "Skipping a step with a non-finite gradient loses that batch and nothing else.",
    references: &["IEEE 754: infinity times zero is NaN"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(60)
                .norm(40, |since, norm| norm * 4f64.powi(since as i32))
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
    // What was not announced by growth is SG020's: it says what may have made it.
    history.rise()?;
    let rows = history.rows();
    let is_broken = |index: &usize| {
        let row = &rows[*index];
        broken(row.loss).or(broken(row.grad_norm)).is_some()
    };
    let all: Vec<usize> = (0..rows.len()).filter(is_broken).collect();
    let lost = match history.ending() {
        Ending::NonFinite { row } => Some(row),
        _ => None,
    };
    let first = lost.or(all.first().copied())?;
    let row = rows.get(first)?;
    let (role, value) = match (broken(row.loss), broken(row.grad_norm)) {
        (Some(loss), _) => (Role::Loss, loss),
        (None, norm) => (Role::GradNorm, norm?),
    };
    let column = history.column(&role);
    let trace = history.trace();
    let scaled = trace.series(&Role::LossScale).is_some();
    let by_scaler = scaled && lost.is_none() && role == Role::GradNorm;
    let (step, place) = (row.step, history.place(first));
    let title = match lost {
        Some(_) => format!("`{column}` is {value} from {place} to the end of the log"),
        None => format!(
            "`{column}` is {value} at {place}; of {} rows {} are not finite",
            rows.len(),
            all.len()
        ),
    };
    Some(Finding {
        code: RULE.code.into(),
        level: match lost {
            Some(_) => FindingLevel::Error,
            None if by_scaler => FindingLevel::Note,
            None => FindingLevel::Warning,
        },
        title,
        place: match broken_parameter(trace, step) {
            Some(name) => Place::Parameter(name.into()),
            None => Place::Run,
        },
        step: Some(step),
        until: lost.and(rows.last()).map(|row| row.step),
        evidence: vec![
            Evidence::new("rows that are not finite", all.len() as f64),
            Evidence::new("rows before the first of them", *all.first()? as f64),
        ],
        chart: history.chart(&Role::Loss, first.saturating_sub(36)..first + 4),
        why: RULE.why.into(),
        help: "Fix the first finding: this is the end of the chain, not its start. Until then, \
               skip steps that are not finite."
            .into(),
        notes: notes(trace, by_scaler),
        ..Finding::default()
    })
}

/// A value that was logged and is NaN or infinite.
fn broken(value: Option<f64>) -> Option<f64> {
    value.filter(|value| !value.is_finite())
}

/// The last parameter, in the order of the log, whose gradient norm is not finite at this step.
fn broken_parameter(trace: &Trace, step: u64) -> Option<&str> {
    let broken = trace.parameters().filter(|(_, series)| {
        let at = series.steps().iter().rposition(|at| *at == step);
        at.and_then(|index| series.values().get(index))
            .is_some_and(|value| !value.is_finite())
    });
    broken.map(|(name, _)| name).last()
}

fn notes(trace: &Trace, by_scaler: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if by_scaler {
        notes.push("Under loss scaling single overflows are normal: the scaler skips them.".into());
    }
    if trace.parameters().next().is_none() {
        notes.push("Log `grad_norm/<parameter>` to see in which layer it began.".into());
    }
    notes
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
