//! SG015: the run never came back from a spike.

use crate::Evidence;
use crate::detect::{Detection, Detector, Severity};
use crate::diagnose::run::median;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, HitRate, Needs,
    RemedyFamilies, Rule,
};
use crate::trace::Role;

/// The least rows after the spike that a new level is read from: the guard's warm-up.
const LEAST_ROWS: usize = 20;

/// A level above this many times the loss before the spike is lost.
const LOST: f64 = 1.5;

/// How much a loss at chance differs from batch to batch, as a share of its level. Chosen on the
/// zoo's tuning part.
const NOISE: f64 = 0.05;

/// A run whose loss is above this share of the first loss has not learnt.
const UNLEARNT: f64 = 0.9;

/// What was learnt is at least this share of the loss: less cannot be lost.
const LEARNT: f64 = 0.2;

pub(super) const RULE: Rule = Rule {
    code: "SG015",
    name: "plateau-after-a-spike",
    what: "After a spike the loss stays on a higher level, at the level of an untrained model, or \
           stands still.",
    why: "What was learnt is gone. Often units died or saturated at the spike and get no gradient \
          that would bring them back; further steps are wasted.",
    evidence: "`loss`, with twenty rows after the spike.",
    needs: Needs::SUPERVISED,
    blind: "Why the loss spiked: see the finding before this one. Progress that is slow but not \
            lost.",
    remedy: "Go back to a checkpoint before the spike and fix its cause; do not train on.",
    fix_safety: "Going back loses the steps since, which taught nothing.",
    references: &["The guard's own detector of a loss that is back at its start"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(200)
                .loss(120, |since, _| if since < 4 { 50.0 } else { 2.3 })
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: Some(HitRate::new(41, 45)),
    before_training: None,
    of_run: Some(of_run),
};

/// Whether a loss is far out of its range, or three times an untrained model's.
fn is_loss_jump(seen: &Detection) -> bool {
    match seen.detector {
        Detector::LossDivergence => true,
        Detector::LossSpike => seen.severity >= Severity::Harmful,
        _ => false,
    }
}

/// Whether losses stand still from their middle on, with as little noise as the loss at chance: the
/// losses of a model that has learnt differ from batch to batch.
fn is_flat(losses: &[f64]) -> bool {
    let half = &losses[losses.len() / 2..];
    let (third, fourth) = half.split_at(half.len() / 2);
    let middle = |values: &[f64]| median(values.iter().copied());
    let (Some(third), Some(fourth), Some(level)) = (middle(third), middle(fourth), middle(half))
    else {
        return false;
    };
    let away = median(half.iter().map(|loss| (loss - level).abs()));
    away.is_some_and(|away| away <= NOISE * level) && (third - fourth).abs() <= NOISE * level
}

/// The row at which the loss left its level, and the losses around it.
struct Levels {
    from: usize,
    before: f64,
    after: f64,
    first: f64,
}

/// What the run lost at a spike, or in a relapse; `None` when it lost nothing.
fn lost_at(history: &History<'_>, relapse: Option<usize>, spike: Option<usize>) -> Option<Levels> {
    let rows = history.rows();
    let streak = |row: usize| history.streak_at(row);
    let from =
        relapse.or_else(|| spike.map(|row| streak(row).map_or(row, |streak| streak.from)))?;
    let first = rows.iter().find_map(|row| row.loss)?;
    let around = &rows[from.saturating_sub(LEAST_ROWS)..from];
    let before = spike
        .and_then(|row| streak(row)?.usual_loss)
        .or_else(|| median(around.iter().filter_map(|row| row.loss)))
        .unwrap_or(first);
    let since = spike.map_or(from, |row| row.max(from) + 1).min(rows.len());
    let after: Vec<f64> = rows[since..].iter().filter_map(|row| row.loss).collect();
    let last = &after[after.len() - after.len().min(LEAST_ROWS)..];
    let level = median(last.iter().copied())?;
    // Worse than before the spike; or, if nothing was learnt before it, no better than untrained.
    let bound = if before < UNLEARNT * first {
        LOST * before
    } else {
        UNLEARNT * first
    };
    let enough = after.len() >= LEAST_ROWS && before > 0.0;
    // The spike did not make a level that was there before it.
    let stood = || {
        let earlier: Vec<f64> = rows[..from].iter().filter_map(|row| row.loss).collect();
        level <= (1.0 + NOISE) * before && earlier.len() >= LEAST_ROWS && is_flat(&earlier)
    };
    // A level that is no higher than before is no loss of anything, and neither is the level of a
    // run that had not learnt.
    let learnt = before < (1.0 - LEARNT) * first.max(level) && level > (1.0 + NOISE) * before;
    let lost =
        learnt && (relapse.is_some() || (enough && (level > bound || is_flat(&after)) && !stood()));
    lost.then_some(Levels {
        from,
        before,
        after: level,
        first,
    })
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    // What still grows has not settled on a level.
    if history.rise().is_some() {
        return None;
    }
    let rows = history.rows();
    let relapse = match history.ending() {
        Ending::Relapsed { row } => Some(row),
        // A loss that jumped and stays far above its start; one that grew is SG002's.
        Ending::Diverged { row } => Some(row),
        Ending::Alive => None,
        _ => return None,
    };
    // The level begins with the last of several spikes; or with the first, if the last one hit a
    // run that had nothing left to lose.
    let (mut first_spike, mut last_spike) = (None, None);
    let jumps = history.seen().filter(|(_, seen)| is_loss_jump(seen));
    for (row, _) in jumps {
        if relapse.is_none_or(|relapse| row <= relapse + LEAST_ROWS) {
            first_spike = first_spike.or(Some(row));
            last_spike = Some(row);
        }
    }
    let Levels {
        from,
        before,
        after: level,
        first,
    } = lost_at(history, relapse, last_spike).or_else(|| {
        if first_spike == last_spike {
            return None;
        }
        lost_at(history, relapse, first_spike)
    })?;
    let step = history.step(from);
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: format!(
            "the loss went to {level:.3} at {} and stayed; before it was {before:.3}",
            history.at(step)
        ),
        step: Some(step),
        until: rows.last().map(|row| row.step),
        evidence: vec![
            Evidence::new("loss before", before),
            Evidence::new("loss of the last rows", level),
            Evidence::new("loss at the start", first),
        ],
        chart: history.chart(&Role::Loss, 0..rows.len()),
        why: RULE.why.into(),
        help: format!(
            "Go back to a checkpoint before {}, fix what came first, and do not train on.",
            history.at(step)
        ),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(sketch: Sketch) -> Option<String> {
        let trace = sketch.trace();
        of_run(&History::of(&trace)).map(|finding| finding.title)
    }

    /// The loss is at chance before a spike and after it: the spike changed nothing.
    #[test]
    fn a_level_that_was_there_before_is_not_the_spikes() {
        let chance = |spike: usize| {
            Sketch::healthy(200).loss(0, move |row, _| {
                let noise = 0.01 * (row % 5) as f64;
                if row == spike { 50.0 } else { 2.3 + noise }
            })
        };
        assert_eq!(says(chance(120)), None);
        // A spike in the first rows may have made the level: nothing was learnt that could be lost.
        assert_eq!(says(chance(8)), None);
    }
}
