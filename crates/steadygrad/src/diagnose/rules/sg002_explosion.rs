//! SG002: the gradient or the loss explodes while the run goes on.

use crate::detect::Detector;
use crate::diagnose::sketch::{diverging, healthy};
use crate::diagnose::{
    ColumnRise, Ending, Example, Finding, FindingLevel, GradientEffect, History, ModelCase, Needs,
    RemedyFamilies, Rule,
};
use crate::trace::Role;
use crate::{Evidence, Place};

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let seen = case
        .detections?
        .iter()
        .find(|seen| seen.detector != Detector::NonFinite && seen.detector.is_about_explosion())?;
    Some(Finding {
        code: RULE.code.into(),
        title: format!(
            "explosion in progress at step {}: {}",
            seen.step, seen.message
        ),
        place: seen.place.clone(),
        step: Some(seen.step),
        evidence: vec![
            Evidence::new("value", seen.value),
            Evidence::new("threshold", seen.threshold),
        ],
        why: RULE.why.into(),
        help: "Stop or roll back here, before the numbers overflow.".into(),
        ..Finding::default()
    })
}

pub(super) const RULE: Rule = Rule {
    code: "SG002",
    name: "explosion-in-progress",
    what: "The gradient norm, a loss or a policy's divergence grows by orders of magnitude and \
           does not come back.",
    why: "An update of this size leaves the region in which the gradient describes the loss. The \
          step overshoots, and the next gradient is larger still.",
    evidence: "`grad_norm`, else `loss`, the losses of two networks or of a value function, or \
               `kl`. A rising reward explains the growth of a value function. With \
               `grad_norm/<parameter>` it says which parameter carries most of the squared norm.",
    needs: Needs::ANY,
    blind: "The cause: see the finding before this one. A jump from one step to the next belongs \
            to another rule.",
    remedy: "Go back to a checkpoint before the first step of the growth. Then fix the first \
             finding.",
    fix_safety: "Going back loses the steps since. Clipping alone hides the growth and may keep \
                 the run alive without learning: look at the loss.",
    references: &[
        "Pascanu, Mikolov, Bengio, 2013: On the difficulty of training recurrent neural networks",
        "arXiv 2304.13013: loss spikes follow their first sign by 1 to 8 steps",
    ],
    example: Example::Logs {
        fires: || diverging().trace(),
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Explodes,
    hit_rate: None,
    before_training: Some(check),
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let rise = history.rise()?;
    let (from, to) = (history.step(rise.from_row), history.step(rise.to_row));
    let column = history.column(&rise.role);
    let share = history.largest_share(to);
    Some(Finding {
        code: RULE.code.into(),
        level: if rise.is_fatal {
            FindingLevel::Error
        } else {
            FindingLevel::Warning
        },
        title: format!(
            "explosion: `{column}` grows {}, from {:.2e} at {} to {:.2e} at {}",
            history.pace(rise),
            rise.from,
            history.at(from),
            rise.to,
            history.at(to)
        ),
        place: match share {
            Some((name, share)) if share > 0.5 => Place::Parameter(name.into()),
            _ => Place::Run,
        },
        step: Some(from),
        until: Some(to),
        evidence: evidence(history, rise, share),
        chart: history.chart(
            &rise.role,
            rise.from_row.saturating_sub(24)..rise.to_row + 1,
        ),
        why: RULE.why.into(),
        help: format!(
            "Go back to a checkpoint before {}; stop a run that grows like this.",
            history.at(from)
        ),
        notes: notes(rise, share.is_some()),
        ..Finding::default()
    })
}

fn evidence(history: &History<'_>, rise: &ColumnRise, share: Option<(&str, f64)>) -> Vec<Evidence> {
    let mut evidence = vec![
        Evidence::new("factor a row", rise.per_row),
        Evidence::new("usual before", rise.from),
        Evidence::new("largest finite value", rise.to),
    ];
    if let Some((name, share)) = share {
        let name = format!("share of the squared norm in `{name}`");
        evidence.push(Evidence::new(name, share));
    }
    let left = (f64::from(f32::MAX).sqrt() / rise.to).ln() / rise.per_row.ln();
    if !matches!(history.ending(), Ending::NonFinite { .. }) && left > 0.0 {
        evidence.push(Evidence::new("rows until squares overflow f32", left));
    }
    evidence
}

fn notes(rise: &ColumnRise, parameters: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if !parameters {
        notes.push("Log `grad_norm/<parameter>` to see which parameter carries the growth.".into());
    }
    if rise.role != Role::GradNorm {
        notes.push("Log `grad_norm` (before clipping): it rises before the loss does.".into());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::reading;
    use crate::detect::{DetectorConfig, DetectorState, Signals};
    use crate::diagnose::testing::verdict;

    #[test]
    fn fires_on_an_oversized_update_only() {
        assert_eq!(verdict(check, |_, _, _| ()), None);
        let found = verdict(check, |_, _, detections| {
            let reading = reading(2, 1.0, 1e4);
            let (detectors, state) = (DetectorConfig::default(), DetectorState::default());
            detections.extend(detectors.check(&state, &Signals::of(&reading)));
        });
        assert_eq!(found.unwrap().step, Some(2));
    }
}
