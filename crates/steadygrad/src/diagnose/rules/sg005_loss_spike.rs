//! SG005: the loss jumped for several steps and came back.

use crate::Evidence;
use crate::detect::Detector;
use crate::diagnose::Streak;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, HitRate, Needs,
    RemedyFamilies, Row, Rule,
};
use crate::trace::Role;

/// A jump of up to this many rows is one batch: SG009.
pub(super) const BATCH_ROWS: usize = 3;

/// Rows that count as the start: the detectors' warm-up.
const START_ROWS: usize = 20;

/// A loss at the start explodes above this many times the first loss: Megatron's bound for a spike.
const EXPLODED: f64 = 10.0;

pub(super) const RULE: Rule = Rule {
    code: "SG005",
    name: "loss-spike",
    what: "The loss jumps far out of its usual range, stays there for several steps and comes \
           back. Or loss and gradient norm reach ten times their first values within the first \
           rows.",
    why: "A spike throws away what the steps before it had learnt, and the next one may not come \
          back.",
    evidence: "`loss`. With `grad_norm` and `update_norm` it says which came first.",
    needs: Needs::SUPERVISED,
    blind: "In a log of every step a jump of three rows or fewer, which is one batch's (SG009). A \
            spike between two rows of a log that is written seldom.",
    remedy: "Clip by the global norm a little above its usual size, or lower the peak of the \
             learning rate. With Adam, also try a lower beta2 (.95): its second moment then \
             follows the gradient in time.",
    fix_safety: "A clip above the usual norm leaves calm steps unchanged.",
    references: &[
        "arXiv 2304.13013: spikes follow an outdated second moment",
        "PaLM, arXiv 2204.02311: restart 100 steps back, skip 200 to 500 batches",
    ],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(200)
                .loss(100, |since, loss| if since < 12 { 40.0 } else { loss })
                .trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    // Headlines about the first rows are not counted: no run with such a loss is labelled healthy.
    hit_rate: Some(HitRate::new(7, 8)),
    before_training: None,
    of_run: Some(of_run),
};

fn last_loss(history: &History<'_>) -> Option<f64> {
    history.rows().iter().rev().find_map(|row| row.loss)
}

/// Whether the loss has come at least halfway back from its peak by the end of the log.
fn is_past(history: &History<'_>, streak: &Streak) -> bool {
    let half = streak
        .usual_loss
        .map(|usual| usual + 0.5 * (peak(history, streak) - usual));
    // A streak that lasts into the trouble the run is lost in is no spike of its own.
    let lost = history.onset().is_some_and(|onset| streak.to > onset);
    !lost
        && last_loss(history)
            .zip(half)
            .is_some_and(|(last, half)| last < half)
}

fn peak(history: &History<'_>, streak: &Streak) -> f64 {
    let losses = history.rows()[streak.rows()]
        .iter()
        .filter_map(|row| row.loss);
    let finite = losses.filter(|loss| loss.is_finite());
    finite.fold(f64::MIN, f64::max)
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    usual_spike(history).or_else(|| at_the_start(history))
}

/// An explosion in the first rows, before a row can stand out from others. The gradient has to
/// explode as well: a loss that begins near zero is soon many times as large.
fn at_the_start(history: &History<'_>) -> Option<Finding> {
    let begin = history.rows().get(..START_ROWS)?;
    // A log that does not begin with its run has no start.
    if begin[0].step > START_ROWS as u64 * begin[1].step.saturating_sub(begin[0].step) {
        return None;
    }
    let (first, first_norm) = (begin[0].loss?, begin[0].grad_norm?);
    let peak = largest(begin, |row| row.loss);
    let norm = largest(begin, |row| row.grad_norm);
    let exploded = first > 0.0 && first_norm > 0.0 && norm > EXPLODED * first_norm;
    let is_high = |row: &Row| row.loss.is_some_and(|loss| loss > EXPLODED * first);
    let from = begin
        .iter()
        .position(is_high)
        .filter(|from| exploded && *from <= BATCH_ROWS)?;
    let last = last_loss(history)?;
    let (level, since) = match history.ending() {
        Ending::Alive => (FindingLevel::Warning, "came back"),
        // A loss that rises to the end is SG002's.
        Ending::Diverged { .. } if history.rise().is_none() => {
            (FindingLevel::Error, "never came back to that")
        }
        _ => return None,
    };
    let plateau = || super::sg015_plateau_after_a_spike::RULE.check_run(history);
    if last > 0.5 * peak || plateau().is_some() {
        return None;
    }
    let highest = begin.iter().rposition(is_high).unwrap_or(from);
    let step = history.step(from);
    Some(Finding {
        code: RULE.code.into(),
        level,
        title: format!(
            "the loss exploded from {first:.3e} to {peak:.3e} at {}, in the first rows, and \
             {since}",
            history.at(step)
        ),
        step: Some(step),
        until: Some(history.step(highest)),
        evidence: vec![
            Evidence::new("largest loss", peak),
            Evidence::new("first loss", first),
            Evidence::new("largest gradient norm", norm),
            Evidence::new("first gradient norm", first_norm),
            Evidence::new("last loss", last),
        ],
        chart: history.chart(&Role::Loss, 0..2 * START_ROWS),
        why: RULE.why.into(),
        help: START_HELP.into(),
        ..Finding::default()
    })
}

const START_HELP: &str = "Warm the learning rate up over the first steps, or lower it, and start \
                          again: units may have died. A validation that stays at chance says so.";

/// The largest finite value of some rows.
fn largest(rows: &[Row], value: impl Fn(&Row) -> Option<f64>) -> f64 {
    let values = rows.iter().filter_map(value);
    values
        .filter(|value| value.is_finite())
        .fold(f64::MIN, f64::max)
}

fn usual_spike(history: &History<'_>) -> Option<Finding> {
    // Where a row is more than a step, one row may hold a whole spike.
    let batch = if history.is_by_step() { BATCH_ROWS } else { 0 };
    let spikes: Vec<&Streak> = history
        .streaks()
        .iter()
        .filter(|streak| streak.rows().len() > batch && is_past(history, streak))
        .filter(|streak| {
            history
                .harmful(Detector::LossSpike, streak.rows())
                .is_some()
        })
        .collect();
    let peak = |streak: &Streak| peak(history, streak);
    let worst = spikes
        .iter()
        .copied()
        .max_by(|a, b| peak(a).total_cmp(&peak(b)))?;
    let usual = worst.usual_loss?;
    let (from, until) = (history.step(worst.from), history.step(worst.to - 1));
    let help = match worst.usual_norm {
        Some(norm) => format!(
            "Clip by the global norm at {:.3}, twice its median before {}; with Adam, lower beta2 \
             to .95.",
            2.0 * norm,
            history.at(from)
        ),
        None => {
            "Clip by the global norm at twice its usual size; with Adam, lower beta2 to .95.".into()
        }
    };
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Warning,
        title: format!(
            "the loss spiked to {:.3} at {}, usual is {usual:.3}, and came back by {}",
            peak(worst),
            history.at(from),
            history.place(worst.to)
        ),
        step: Some(from),
        until: Some(until),
        evidence: vec![
            Evidence::new("largest loss", peak(worst)),
            Evidence::new("usual before", usual),
            Evidence::new("rows until it was back", worst.rows().len() as f64),
            Evidence::new("spikes in the log", spikes.len() as f64),
        ],
        chart: history.chart(&Role::Loss, worst.from.saturating_sub(30)..worst.to + 30),
        why: RULE.why.into(),
        help,
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(sketch: Sketch) -> Option<String> {
        let trace = sketch.trace();
        RULE.check_run(&History::of(&trace)).map(|seen| seen.title)
    }

    #[test]
    fn an_explosion_at_the_start_is_found_when_the_run_came_back() {
        let times = |factor: f64, until: usize| {
            move |row: usize, value: f64| {
                if (1..until).contains(&row) {
                    factor * value
                } else {
                    value
                }
            }
        };
        let of = |factor: f64| {
            let sketch = Sketch::healthy(200).loss(0, times(factor, 4));
            sketch.norm(0, times(factor, 4))
        };
        let seen = says(of(1e4)).unwrap();
        assert!(seen.contains("at step 1, in the first rows"), "{seen}");
        assert_eq!(says(of(5.0)), None);
        // A loss that begins near zero, with a gradient that stays as it is.
        assert_eq!(says(Sketch::healthy(200).loss(0, times(1e4, 4))), None);
        let broken = |row: usize, value: f64| if row == 1 { f64::NAN } else { value };
        assert_eq!(
            says(Sketch::healthy(200).loss(0, broken).norm(0, broken)),
            None
        );
        let negative = |row: usize, value: f64| if row == 0 { -1.0 } else { value };
        assert_eq!(says(of(1e4).loss(0, negative)), None);
    }

    /// The run above, but far above its first loss at the end.
    #[test]
    fn an_explosion_that_came_back_halfway_is_found() {
        let sketch = Sketch::healthy(200)
            .loss(0, |row, loss| match row {
                0 => loss,
                1 => 1e4,
                _ => 10.0 + 30.0 * (-(row as f64) / 20.0).exp(),
            })
            .norm(0, |row, norm| if row == 1 { 1e4 } else { norm });
        let trace = sketch.trace();
        let history = History::of(&trace);
        assert!(matches!(history.ending(), Ending::Diverged { .. }));
        let findings = crate::diagnose::diagnose_run(&history);
        assert_eq!(findings[0].level, FindingLevel::Error);
    }
}
