//! SG022: the loss does not move.

use std::ops::Range;

use crate::Evidence;
use crate::diagnose::run::{deviation, median};
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Rule,
};
use crate::trace::Role;

/// The least rows that say that a loss stands still.
const LEAST_ROWS: usize = 50;

/// The share of the log in which it stands: most of it.
const MOST: f64 = 0.8;

/// A loss stands still within this share of its level.
const STILL: f64 = 0.02;

/// A loss that fell below this share of its start has been learnt, and may stand at its end.
const LEARNT: f64 = 0.5;

/// A level this close to ln(classes) is that of a constant answer.
const CLOSE: f64 = 0.005;

/// Numbers of classes, and of words in vocabularies, that are in use.
const CLASSES: [u32; 10] = [2, 5, 10, 20, 100, 1000, 32_000, 50_257, 128_256, 151_936];

/// A first update above this share of the weights' norm throws away what they were.
const LARGE_UPDATE: f64 = 0.3;

/// Rows that say what is usual at the start.
const START: usize = 5;

pub(super) const RULE: Rule = Rule {
    code: "SG022",
    name: "stuck-loss",
    what: "The loss has not moved for most of the run, on a level near its start. Or it is exactly \
           0 from the first row on.",
    why: "A model that gives one answer to every input has such a loss: the logarithm of the \
          number of classes, or the entropy of the words' frequencies. A learning rate far too \
          high, dead units and labels that are all masked look like this. So does a model that has \
          learnt what there is to learn.",
    evidence: "`loss`, fifty rows. With `update_norm` and `weight_norm` an update as large as the \
               weights, which points at the learning rate.",
    needs: Needs::SUPERVISED,
    blind: "Whether there is more to learn: without other evidence it is a note.",
    remedy: "Train on one batch alone: a sound model brings its loss to 0. If it does not, try a \
             tenth of the learning rate, then look at the labels.",
    fix_safety: "A test on one batch changes nothing.",
    references: &["Karpathy, 2019: A recipe for training neural networks (overfit one batch)"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(200)
                .loss(0, |row, _| 2.302 + 0.002 * (row % 5) as f64)
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: None,
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    if history.ending() != Ending::Alive || history.rise().is_some() {
        return None;
    }
    let points = history.rows().iter().enumerate();
    let points: Vec<(usize, f64)> = points
        .filter_map(|(index, row)| Some((index, row.loss?)))
        .filter(|(_, loss)| loss.is_finite())
        .collect();
    all_zero(history, &points).or_else(|| stands(history, &points))
}

/// A loss of exactly 0 in every row: nothing is trained.
fn all_zero(history: &History<'_>, points: &[(usize, f64)]) -> Option<Finding> {
    if points.len() < START || points.iter().any(|(_, loss)| *loss != 0.0) {
        return None;
    }
    let first = points.first()?.0;
    let column = history.column(&Role::Loss);
    Some(Finding {
        level: FindingLevel::Error,
        title: format!(
            "`{column}` is exactly 0 in every row, from {} on",
            history.place(first)
        ),
        why:
            "No model fits its data exactly before it is trained. Labels that are all masked, or a \
              NaN that the logger prints as 0, give such a loss."
                .into(),
        help: "Count the labels of a batch that are not masked, and print the loss of one batch \
               without a filter."
            .into(),
        ..finding(history, first..history.rows().len(), 0.0, 0.0)
    })
}

fn stands(history: &History<'_>, points: &[(usize, f64)]) -> Option<Finding> {
    if points.len() < LEAST_ROWS {
        return None;
    }
    let losses: Vec<f64> = points.iter().map(|point| point.1).collect();
    let middle = |losses: &[f64]| median(losses.iter().copied());
    let tail = &losses[losses.len() - (MOST * losses.len() as f64) as usize..];
    let (level, start) = (middle(tail)?, middle(&losses[..START])?);
    let quarter = tail.len() / 4;
    let (early, late) = (
        middle(&tail[..quarter])?,
        middle(&tail[tail.len() - quarter..])?,
    );
    let away = deviation(tail)?;
    let is_still = level > 0.0 && (early - late).abs() <= STILL * level && away <= STILL * level;
    if !is_still || level <= LEARNT * start {
        return None;
    }
    let is_near = |loss: &f64| (loss - level).abs() <= (3.0 * away).max(STILL * level);
    let moved = losses.iter().take_while(|loss| !is_near(loss)).count();
    let from = points.get(moved)?.0;
    let classes = CLASSES
        .into_iter()
        .find(|classes| (level / f64::from(*classes).ln() - 1.0).abs() <= CLOSE);
    let never_moved = level >= (1.0 - STILL) * start;
    let update = first_update(history).filter(|share| *share > LARGE_UPDATE);
    let is_sure = (classes.is_some() && never_moved) || update.is_some();
    let mut finding = Finding {
        level: if is_sure {
            FindingLevel::Warning
        } else {
            FindingLevel::Note
        },
        title: format!(
            "the loss has stood at {level:.3} since {}; it began at {start:.3}",
            history.place(from)
        ),
        ..finding(history, from..history.rows().len(), level, start)
    };
    if let Some(classes) = classes {
        let chance = f64::from(classes).ln();
        finding.notes.push(format!(
            "ln({classes}) = {chance:.3} is the loss of a constant answer over {classes} classes."
        ));
    }
    if let Some(share) = update {
        finding.notes.push(format!(
            "The first update was {share:.1} times as large as the weights: the learning rate is \
             too high for them."
        ));
    }
    Some(finding)
}

fn finding(history: &History<'_>, rows: Range<usize>, level: f64, start: f64) -> Finding {
    Finding {
        code: RULE.code.into(),
        step: Some(history.step(rows.start)),
        until: history.rows().last().map(|row| row.step),
        evidence: vec![
            Evidence::new("level of the loss", level),
            Evidence::new("loss at the start", start),
            Evidence::new("rows at that level", rows.len() as f64),
        ],
        chart: history.chart(&Role::Loss, 0..history.rows().len()),
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    }
}

/// The norm of the first update over that of the weights.
fn first_update(history: &History<'_>) -> Option<f64> {
    let first = |role: Role| history.trace().series(&role)?.values().first().copied();
    let share = first(Role::UpdateNorm)? / first(Role::WeightNorm)?;
    (share.is_finite() && history.is_by_step()).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{RunDiagnosis, RunState};

    fn standing(start: f64, level: f64) -> Sketch {
        Sketch::healthy(300).loss(0, move |row, _| {
            let noise = 0.002 * level * ((row % 7) as f64 - 3.0);
            level + noise + (start - level) * (-(row as f64) / 6.0).exp()
        })
    }

    #[test]
    fn a_loss_near_its_start_is_a_note_and_the_run_not_called_healthy() {
        let found = RunDiagnosis::of(&standing(10.8, 7.5).trace());
        assert_eq!(found.state, RunState::NothingSeen);
        assert_eq!(found.findings[0].code, "SG022");
        assert!(
            found.findings[0].title.contains("stood at 7.5"),
            "{found:?}"
        );
        // A real fall and a flat end.
        assert_eq!(
            RunDiagnosis::of(&standing(2.3, 0.1).trace()).state,
            RunState::Alive
        );
    }

    #[test]
    fn a_constant_answer_or_a_huge_update_is_a_warning() {
        let found = |sketch: Sketch| RunDiagnosis::of(&sketch.trace()).findings.remove(0);
        let chance = found(standing(2.303, 2.303));
        assert_eq!(chance.level, FindingLevel::Warning);
        assert!(chance.notes[0].starts_with("ln(10) = 2.303"), "{chance:?}");
        let thrown = standing(10.8, 7.5)
            .with(Role::UpdateNorm, |_| 90.0)
            .with(Role::WeightNorm, |_| 100.0);
        let thrown = found(thrown);
        assert_eq!(
            (thrown.code.as_str(), thrown.level),
            ("SG022", FindingLevel::Warning)
        );
    }

    #[test]
    fn a_loss_of_zero_from_the_first_row_is_an_error() {
        let zero = |_: usize, _: f64| 0.0;
        let found = RunDiagnosis::of(&Sketch::healthy(59).loss(0, zero).norm(0, zero).trace());
        assert_eq!(found.findings[0].level, FindingLevel::Error);
        assert_eq!(found.findings[0].step, Some(0));
    }
}
