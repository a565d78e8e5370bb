//! SG014: the learning rate rose, and trouble came with it.

use crate::Evidence;
use crate::detect::Detector;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, Needs, RemedyFamilies, Rule,
};
use crate::trace::Role;

/// Rows before the trouble in which a change of the schedule counts: the guard's warm-up.
const BEFORE: usize = 20;

/// A learning rate above this many times the smallest of those rows has jumped: after its first
/// rows a warm-up at most doubles it.
const JUMP: f64 = 2.0;

/// A spike of so many rows may be one odd batch's.
const ODD_ROWS: usize = 3;

/// Rows over which a ramp's rate must have risen.
const RECENT: usize = 5;

pub(super) const RULE: Rule = Rule {
    code: "SG014",
    name: "schedule-jump",
    what: "The learning rate at least doubled within the twenty rows before the trouble (a \
           restart, a schedule that was resumed at a wrong step), or a warm-up still raised it \
           when something began to grow.",
    why: "The weights were at a place whose curvature suited the smaller rate; the larger one \
          overshoots there.",
    evidence: "`learning_rate`, and a run whose loss or norm shows trouble, or whose guard \
               stopped the jump.",
    needs: Needs {
        columns: &[Role::LearningRate],
        ..Needs::ANY
    },
    blind: "A rate that was too high from the start (SG006); schedules that the log does not \
            show.",
    remedy: "Hold the peak below the rate at which the trouble began, at half of it to be safe, \
             or lengthen the warm-up. After a resume, check that the scheduler's step was \
             restored.",
    fix_safety: "A longer warm-up costs its own steps.",
    references: &[
        "Goyal et al., 2017: warm-up for large batches",
        "Gilmer et al., 2021: warm-up lets training find flatter places before the rate is high",
    ],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(140)
                .rate(99, |_, rate| 100.0 * rate)
                .norm(100, |since, norm| norm * 3f64.powi(since as i32))
                .loss(100, |since, loss| loss * 3f64.powi(since as i32))
                .trace()
        },
        // The same jump, and nothing came of it.
        silent: || Sketch::healthy(140).rate(99, |_, rate| 3.0 * rate).trace(),
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: Some(HitRate::new(31, 32)),
    before_training: None,
    of_run: Some(of_run),
};

/// The smallest rate before the largest, the largest, and its row, if the learning rate jumped
/// shortly before this row.
pub(super) fn jumped_at(history: &History<'_>, row: usize) -> Option<(f64, f64, usize)> {
    let first = row.saturating_sub(BEFORE);
    let rates = || {
        let rows = history.rows().iter().enumerate().take(row + 1).skip(first);
        rows.filter_map(|(index, row)| {
            Some((index, row.learning_rate().filter(|rate| *rate > 0.0)?))
        })
    };
    let (at, largest) = rates().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    let before = rates().filter(|(index, _)| *index < at);
    let smallest = before.map(|(_, rate)| rate).fold(f64::INFINITY, f64::min);
    (smallest.is_finite() && largest > JUMP * smallest).then_some((smallest, largest, at))
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    stopped_by_a_guard(history).or_else(|| followed_by_trouble(history))
}

/// A jump that a guard stopped: then neither loss nor norm need to show trouble.
fn stopped_by_a_guard(history: &History<'_>) -> Option<Finding> {
    let jump = |row: usize| {
        let (_, seen) = history.harmful(Detector::LearningRateJump, row..row + 1)?;
        Some((seen.threshold, seen.value, row))
    };
    let (before, largest, at) = history.interventions().into_iter().find_map(jump)?;
    let step = history.step(at);
    let lost_in_it = history.onset().is_some_and(|lost| lost <= at + BEFORE);
    Some(Finding {
        code: RULE.code.into(),
        level: if lost_in_it {
            FindingLevel::Error
        } else {
            FindingLevel::Warning
        },
        title: format!(
            "the learning rate rose from {before:.1e} to {largest:.1e}, {:.0} times that, by {}, \
             where the guard intervened",
            largest / before,
            history.at(step)
        ),
        step: Some(step),
        evidence: vec![
            Evidence::new("learning rate before", before),
            Evidence::new("when the guard intervened", largest),
        ],
        chart: history.chart(&Role::LearningRate, at.saturating_sub(48)..at + 24),
        why: RULE.why.into(),
        help: calm_at(before),
        ..Finding::default()
    })
}

fn calm_at(rate: f64) -> String {
    format!(
        "Keep the learning rate at {rate:.1e}, where training was calm; after a resume, check the \
         scheduler's step."
    )
}

/// The row at which the trouble began that a change of the rate may explain.
fn trouble(history: &History<'_>) -> Option<usize> {
    let onset = history.rise().map(|rise| rise.from_row);
    // A NaN that nothing announced may have any cause, unless the rate jumped just before it.
    let onset = onset.or_else(|| {
        let onset = history.onset()?;
        let (.., at) = jumped_at(history, onset)?;
        (!is_warm_up(history, at)).then_some(onset)
    });
    onset.or_else(|| {
        if history.ending().row().is_some() {
            return None;
        }
        // A spike that the run came out of is trouble, too.
        let spikes = history.streaks().iter().filter(|streak| {
            let far = [Detector::LossSpike, Detector::NormSpike]
                .into_iter()
                .any(|seen| history.harmful(seen, streak.rows()).is_some());
            // A few rows in a warm-up are an odd batch.
            let jump = jumped_at(history, streak.from);
            let is_jump = jump.is_some_and(|(.., at)| !is_warm_up(history, at));
            let lasts = streak.rows().len() > ODD_ROWS || is_jump;
            far && lasts && history.is_by_step() && !streak.non_finite
        });
        spikes
            .map(|streak| streak.from)
            .find(|row| jumped_at(history, *row).is_some())
    })
}

/// Whether the rate has only risen, and still rises at this row.
pub(super) fn is_warm_up(history: &History<'_>, row: usize) -> bool {
    let rates = history.rows()[..=row].iter();
    let rates: Vec<f64> = rates.filter_map(|row| row.learning_rate()).collect();
    let recent = rates.len().saturating_sub(RECENT);
    let rises = rates.last() > rates.get(recent) && rates.len() > 1;
    let largest = rates.windows(2).map(|pair| pair[1] / pair[0]);
    // A jump by more than this is no ramp; the first rows of one may well double it.
    let jumps = largest.skip(RECENT).any(|factor| factor > JUMP);
    rises && !jumps && rates.is_sorted()
}

fn followed_by_trouble(history: &History<'_>) -> Option<Finding> {
    let onset = trouble(history)?;
    if is_warm_up(history, onset) {
        return led_too_far(history, onset);
    }
    let (before, largest, at) = jumped_at(history, onset)?;
    let (step, trouble) = (history.step(at), history.step(onset));
    let in_warm_up = is_warm_up(history, at);
    let what = if in_warm_up {
        "rose in the warm-up"
    } else {
        "jumped"
    };
    Some(Finding {
        code: RULE.code.into(),
        level: level(history),
        title: format!(
            "the learning rate {what} from {before:.1e} to {largest:.1e} by {}, and trouble began \
             at {}",
            history.at(step),
            history.at(trouble)
        ),
        step: Some(step),
        until: Some(trouble.max(step)),
        evidence: vec![
            Evidence::new("learning rate before", before),
            Evidence::new("at its largest", largest),
            Evidence::new("rows until the trouble", onset.saturating_sub(at) as f64),
        ],
        chart: history.chart(&Role::LearningRate, onset.saturating_sub(48)..onset + 24),
        why: RULE.why.into(),
        help: if in_warm_up {
            format!(
                "Hold the peak at {:.1e}, or make the warm-up {:.0} times as long.",
                0.5 * largest,
                (largest / before).max(2.0)
            )
        } else {
            calm_at(before)
        },
        ..Finding::default()
    })
}

fn level(history: &History<'_>) -> FindingLevel {
    match history.ending().row() {
        Some(_) => FindingLevel::Error,
        None => FindingLevel::Warning,
    }
}

/// A ramp that was still going up when the trouble began.
fn led_too_far(history: &History<'_>, onset: usize) -> Option<Finding> {
    let rates = history.rows()[..=onset].iter();
    let mut rates = rates.filter_map(|row| row.learning_rate().filter(|rate| *rate > 0.0));
    let first = rates.next()?;
    let rate = rates.next_back()?;
    if rate < JUMP * first {
        return None;
    }
    Some(Finding {
        code: RULE.code.into(),
        level: level(history),
        title: format!(
            "the learning rate still rose, from {first:.1e} to {rate:.1e}, when trouble began at \
             {}",
            history.place(onset)
        ),
        step: Some(history.step(onset)),
        evidence: vec![
            Evidence::new("learning rate at the start", first),
            Evidence::new("when the trouble began", rate),
        ],
        chart: history.chart(&Role::LearningRate, onset.saturating_sub(48)..onset + 24),
        why: RULE.why.into(),
        help: format!(
            "End the warm-up at {:.1e}, half the rate at which the trouble began.",
            0.5 * rate
        ),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::GUARDED;

    #[test]
    fn a_jump_that_a_guard_stopped_is_found_without_any_trouble() {
        let of = |guarded: bool| {
            let sketch = Sketch::healthy(140).rate(100, |_, rate| 100.0 * rate);
            let skipped = |row: usize| f64::from((100..103).contains(&row));
            let mut trace = sketch.with(Role::Skipped, skipped).trace();
            if guarded {
                trace.notes.push(format!("{GUARDED} 3 times"));
            }
            RULE.check_run(&History::of(&trace))
        };
        assert_eq!(of(false), None);
        let found = of(true).unwrap();
        assert_eq!(
            (found.level, found.step),
            (FindingLevel::Warning, Some(100))
        );
        assert!(
            found.title.contains("from 1.0e-2 to 1.0e0, 100 times"),
            "{found:?}"
        );
        assert!(found.help.contains("at 1.0e-2"), "{found:?}");
    }

    /// The guard skipped one batch in the middle of a warm-up.
    #[test]
    fn an_intervention_at_a_rate_that_rises_as_warm_ups_do_is_no_jump() {
        let sketch = Sketch::healthy(140).rate(0, |row, rate| rate * (row + 1).min(60) as f64);
        let mut trace = sketch
            .with(Role::Skipped, |row| f64::from(row == 30))
            .trace();
        trace.notes.push(format!("{GUARDED} once"));
        assert_eq!(RULE.check_run(&History::of(&trace)), None);
    }
}
