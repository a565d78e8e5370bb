//! SG005: the loss jumped for several steps and came back.

use super::example::{Sketch, healthy};
use super::history::Streak;
use super::{Ending, Evidence, Example, Finding, History, Level, Rule};
use crate::detect::{Detection, Detector, Severity};
use crate::trace::Role;

/// Up to so many rows it is a batch: SG009.
pub(super) const BATCH_ROWS: usize = 3;

/// Rows of the start, before anything is usual: the detectors' warm-up.
const START_ROWS: usize = 20;

/// Times the first loss that a loss of the start is an explosion: Megatron's bound for a spike.
const EXPLODED: f64 = 10.0;

pub(super) const RULE: Rule = Rule {
    code: "SG005",
    name: "loss-spike",
    what: "The loss jumps far out of its usual range, stays there for several steps and comes back; or it is ten \
           times the first loss in the first twenty rows.",
    why: "A spike throws away what the steps before it had learnt, and the next one may not come back.",
    evidence: "`loss`; with `grad_norm` and `update_norm` it says which came first.",
    blind: "A jump of three rows or fewer, which is one batch's (SG009); a log whose cadence is longer \
            than the spike.",
    remedy: "Clip by the global norm a little above its usual size, lower the learning rate's peak, or, \
             with Adam, lower beta2 (.95): its second moment then follows the gradient in time.",
    fix_safety: "A clip above the usual norm leaves calm steps as they are.",
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
    before_training: None,
    of_run: Some(of_run),
};

/// A loss far out of its range, or three times an untrained model's.
pub(super) fn is_loss_jump(seen: &Detection) -> bool {
    match seen.detector {
        Detector::LossDivergence => true,
        Detector::LossSpike => seen.severity >= Severity::Harmful,
        _ => false,
    }
}

/// Whether the streak ended before the log did, and the run is not lost in it.
pub(super) fn came_back(history: &History<'_>, streak: &Streak) -> bool {
    streak.to < history.rows().len() && history.onset() != Some(streak.from)
}

/// Whether the loss has come half of the way back from its peak by the end of the log.
fn is_past(history: &History<'_>, streak: &Streak) -> bool {
    let last = history.rows().iter().rev().find_map(|row| row.loss);
    let half = streak
        .usual_loss
        .map(|usual| usual + 0.5 * (peak(history, streak) - usual));
    let lost = history.onset() == Some(streak.from);
    !lost && last.zip(half).is_some_and(|(last, half)| last < half)
}

fn peak(history: &History<'_>, streak: &Streak) -> f64 {
    let losses = history.rows()[streak.rows()]
        .iter()
        .filter_map(|row| row.loss);
    losses.fold(f64::MIN, f64::max)
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    usual_spike(history).or_else(|| at_the_start(history))
}

/// An explosion before anything was usual, which the run came back from.
fn at_the_start(history: &History<'_>) -> Option<Finding> {
    let rows = history.rows();
    let begin = &rows[..START_ROWS.min(rows.len())];
    let first = begin.iter().find_map(|row| row.loss)?;
    let losses = begin.iter().filter_map(|row| Some((row.step, row.loss?)));
    let (step, peak) = losses
        .filter(|(_, loss)| loss.is_finite())
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let last = rows.iter().rev().find_map(|row| row.loss)?;
    let came_back = history.ending() == Ending::Alive && last < 0.5 * peak;
    (first > 0.0 && peak > EXPLODED * first && came_back).then(|| Finding {
        code: RULE.code.into(),
        level: Level::Warning,
        title: format!(
            "the loss exploded from {first:.3} to {peak:.3} by step {step}, at the start, and came back"
        ),
        step: Some(begin[0].step),
        until: Some(step),
        evidence: vec![
            Evidence::new("largest loss", peak),
            Evidence::new("first loss", first),
            Evidence::new("last loss", last),
        ],
        chart: history.chart(&Role::Loss, 0..2 * START_ROWS),
        why: RULE.why.into(),
        help: "Warm the learning rate up over the first steps, or lower it, and start again: units may have died. A \
               validation that stays at chance says so."
            .into(),
        ..Finding::default()
    })
}

fn usual_spike(history: &History<'_>) -> Option<Finding> {
    let spikes: Vec<&Streak> = history
        .streaks()
        .iter()
        .filter(|streak| streak.rows().len() > BATCH_ROWS && is_past(history, streak))
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
            "Clip by the global norm at {:.3}, twice its median before step {from}; with Adam, lower beta2 \
             to .95.",
            2.0 * norm
        ),
        None => {
            "Clip by the global norm at twice its usual size; with Adam, lower beta2 to .95.".into()
        }
    };
    Some(Finding {
        code: RULE.code.into(),
        level: Level::Warning,
        title: format!(
            "the loss spiked to {:.3} at step {from}, usual is {usual:.3}, and came back by step {}",
            peak(worst),
            history.step(worst.to)
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
    fn an_explosion_at_the_start_is_told_when_the_run_came_back() {
        let times = |factor: f64| {
            move |row: usize, loss: f64| {
                if (1..4).contains(&row) {
                    factor * loss
                } else {
                    loss
                }
            }
        };
        let seen = says(Sketch::healthy(200).loss(0, times(1e4))).unwrap();
        assert!(seen.contains("at the start"), "{seen}");
        assert_eq!(says(Sketch::healthy(200).loss(0, times(5.0))), None);
        // Lost: other rules have it. A first loss that is not positive has no multiple.
        let lost = Sketch::healthy(200).loss(0, |row, loss| if row > 0 { 1e4 } else { loss });
        assert_eq!(says(lost), None);
        let negative = Sketch::healthy(200).loss(0, |row, loss| match row {
            0 => -1.0,
            1 => 100.0,
            _ => loss,
        });
        assert_eq!(says(negative), None);
        let broken =
            Sketch::healthy(200).loss(0, |row, loss| if row == 1 { f64::NAN } else { loss });
        assert_eq!(says(broken), None);
    }
}
