//! SG009: one batch unlike the others.

use super::sg005_loss_spike::BATCH_ROWS;
use super::sg014_schedule_jump::{is_warm_up, jumped_at};
use crate::Evidence;
use crate::detect::Detector;
use crate::diagnose::Streak;
use crate::diagnose::run::median;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, Needs, RemedyFamilies, Row,
    Rule,
};
use crate::trace::Role;

pub(super) const RULE: Rule = Rule {
    code: "SG009",
    name: "outlier-batch",
    what: "The loss or the gradient of one batch is far out of line, while the weights and the \
           learning rate did not change: the batch is odd, not the training.",
    why: "A single update from such a batch can undo thousands.",
    evidence: "`loss` and `grad_norm`, every step; where a row is more than a step, a row whose \
               norm alone is out of line. Both are measured before the update, so a jump from one \
               row to the next after a calm row comes from the batch. With `grad_norm/<parameter>` \
               also a gradient that is not finite in the first layer alone: an infinite input \
               makes it, if a saturating activation hides the input's size from the loss.",
    needs: Needs::ANY,
    blind: "Weights that something else changed look the same where they do no harm afterwards: \
            `weight_norm` tells the two apart (SG008). A NaN that nothing announced is SG020's. \
            With many steps between rows it cannot tell a batch from what followed it.",
    remedy: "Look at the samples of that batch: empty or huge inputs, NaN, wrong labels, one very \
             long sequence. Skip steps whose norm is far out of line, or clip by the global norm.",
    fix_safety: "Skipping loses the batch; clipping above the usual norm leaves all other steps \
                 unchanged.",
    references: &[
        "PaLM, arXiv 2204.02311: spikes came from certain batches in a certain state",
        "The guard's own bounds for spikes of norm and loss",
    ],
    example: Example::Logs {
        fires: || {
            let one = |since: usize, value: f64| if since == 0 { 1e4 * value } else { value };
            Sketch::healthy(200).norm(120, one).loss(120, one).trace()
        },
        silent: healthy,
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: Some(HitRate::new(34, 35)),
    before_training: None,
    of_run: Some(of_run),
};

/// Rows after an odd one that show whether it was alone.
const AFTER: usize = 5;

/// A value above this many times its usual stands out: the streaks' own bound for a norm.
const FAR: f64 = 4.0;

/// A norm above this many times its usual is harmful: the guard's own bound for a spike.
const HUGE: f64 = 100.0;

/// Whether the streak's first row stands out by itself, after calm rows.
fn out_of_the_blue(history: &History<'_>, streak: &Streak) -> bool {
    let first = streak.from..streak.from + 1;
    let row = &history.rows()[streak.from];
    let enough = streak.from >= BATCH_ROWS;
    let at_input = history.is_by_step() && history.broken_at_the_input(streak.from).is_some();
    let is_finite = [row.loss, row.grad_norm]
        .into_iter()
        .flatten()
        .all(f64::is_finite);
    let seen = |detector| history.harmful(detector, first.clone()).is_some();
    // A mean over steps that holds a higher loss may hold a spike: SG005.
    let norms = row.grad_norm.zip(streak.usual_norm);
    let huge = norms.is_some_and(|(norm, usual)| norm > HUGE * usual);
    let far = if history.is_by_step() {
        huge || seen(Detector::LossSpike) || seen(Detector::NormSpike)
    } else {
        huge && !seen(Detector::LossSpike)
    };
    let far = far && is_finite && goes_back(history, streak);
    let jumped = jumped_at(history, streak.from).is_some_and(|(.., at)| !is_warm_up(history, at));
    enough && (at_input || far) && !jumped
}

/// Whether the rows after the first are nearer to the usual than to the first, in logarithms, or
/// not finite: weights that something else changed stay as they are.
fn goes_back(history: &History<'_>, streak: &Streak) -> bool {
    let rows = history.rows();
    let after = &rows[streak.from + 1..(streak.from + 1 + AFTER).min(rows.len())];
    let back = |value: fn(&Row) -> Option<f64>, usual: Option<f64>| {
        let (Some(first), Some(usual)) = (value(&rows[streak.from]), usual) else {
            return true;
        };
        let finite = after
            .iter()
            .filter_map(value)
            .filter(|value| value.is_finite());
        let level = median(finite);
        // A value that is not out of line says nothing.
        let stands_out = first > 0.0 && usual > 0.0 && first > FAR * usual;
        !stands_out || level.is_none_or(|level| level < (first * usual).sqrt())
    };
    back(|row| row.grad_norm, streak.usual_norm) && back(|row| row.loss, streak.usual_loss)
}

/// Whether the streak ended before the log did, and the run was not lost in it.
fn came_back(history: &History<'_>, streak: &Streak) -> bool {
    streak.to < history.rows().len() && history.onset().is_none_or(|onset| streak.to <= onset)
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    let streaks = || {
        let all = history.streaks().iter();
        all.filter(|streak| out_of_the_blue(history, streak))
    };
    // Growth from such a row on is no odd batch; neither is a row that lasts.
    let by_step = history.is_by_step();
    let fatal = |streak: &&Streak| {
        by_step && history.rise().is_none() && history.onset() == Some(streak.from)
    };
    let most = if by_step { BATCH_ROWS } else { 1 };
    let alone = |streak: &&Streak| {
        let is_one = !streak.non_finite || history.broken_at_the_input(streak.from).is_some();
        streak.rows().len() <= most && is_one && came_back(history, streak)
    };
    let worst = streaks().find(fatal).or_else(|| {
        let alone = streaks().filter(alone);
        alone.max_by(|a, b| size(history, a).total_cmp(&size(history, b)))
    })?;
    let (step, row) = (history.step(worst.from), history.rows()[worst.from]);
    if weights_explain(history, step) {
        return None;
    }
    let lost = fatal(&worst);
    let count = streaks().filter(alone).count() + usize::from(lost);
    let role = match row.grad_norm {
        Some(_) => Role::GradNorm,
        None => Role::Loss,
    };
    Some(Finding {
        code: RULE.code.into(),
        level: if lost {
            FindingLevel::Error
        } else {
            FindingLevel::Warning
        },
        title: title(history, worst),
        step: Some(step),
        until: Some(history.step(if lost { worst.from } else { worst.to - 1 })),
        evidence: evidence(row, worst, count),
        chart: history.chart(&role, worst.from.saturating_sub(36)..worst.from + 36),
        why: RULE.why.into(),
        help: help(by_step, worst),
        notes: match history.trace().series(&Role::WeightNorm) {
            None if by_step => vec![
                "Log `weight_norm` to rule out weights that something else changed at that step."
                    .into(),
            ],
            _ => Vec::new(),
        },
        ..Finding::default()
    })
}

/// Whether the weights were damaged, or jumped into this step.
fn weights_explain(history: &History<'_>, step: u64) -> bool {
    let damaged = super::sg021_damaged_weights::RULE.check_run(history);
    let jumped = super::sg008_weight_growth::RULE.check_run(history);
    damaged.is_some_and(|found| found.step == Some(step))
        || jumped.is_some_and(|found| found.until == Some(step))
}

fn help(by_step: bool, streak: &Streak) -> String {
    let samples = if by_step { "that batch" } else { "its batches" };
    let clip = match streak.usual_norm {
        // Clipping leaves a NaN as it is.
        Some(norm) if !streak.non_finite => format!(
            " Clip by the global norm at {:.3}, twice the usual.",
            2.0 * norm
        ),
        _ => String::new(),
    };
    format!("Look at the samples of {samples}, and skip steps so far out of line.{clip}")
}

/// How many times the usual norm or loss the streak's first row has; NaN when neither is known.
fn size(history: &History<'_>, streak: &Streak) -> f64 {
    let row = &history.rows()[streak.from];
    let over = |value: Option<f64>, usual: Option<f64>| {
        value.zip(usual).map(|(value, usual)| value / usual)
    };
    let ratios = [
        over(row.grad_norm, streak.usual_norm),
        over(row.loss, streak.usual_loss),
    ];
    let ratios = ratios.into_iter().flatten();
    ratios
        .filter(|ratio| ratio.is_finite())
        .fold(f64::NAN, f64::max)
}

fn title(history: &History<'_>, streak: &Streak) -> String {
    let place = history.place(streak.from);
    let ratio = size(history, streak);
    let times = if ratio.is_finite() {
        format!(": x{ratio:.1e} the usual")
    } else {
        String::new()
    };
    match history.broken_at_the_input(streak.from) {
        _ if !history.is_by_step() => format!(
            "one row's gradient norm, at {place}, is unlike the others{times}; one odd batch among \
             its steps may do that"
        ),
        Some(input) => format!(
            "the batch of {place} breaks the gradient of `{input}` alone: probably an infinite \
             input"
        ),
        None => format!("the batch of {place} is unlike the others{times}"),
    }
}

fn evidence(row: Row, streak: &Streak, count: usize) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for (name, value, usual) in [
        ("loss of that row", row.loss, streak.usual_loss),
        ("its gradient norm", row.grad_norm, streak.usual_norm),
    ] {
        if let (Some(value), Some(usual)) = (value, usual) {
            evidence.push(Evidence::new(name, value));
            evidence.push(Evidence::new("usual before", usual));
        }
    }
    evidence.push(Evidence::new("such rows in the log", count as f64));
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Cadence, StepUnit};

    #[test]
    fn a_nan_a_growth_and_a_level_that_stays_are_no_odd_batch() {
        let found = |sketch: Sketch| {
            let trace = sketch.trace();
            RULE.check_run(&History::of(&trace))
                .map(|found| found.title)
        };
        let from = |factor: f64| move |_: usize, value: f64| factor * value;
        assert_eq!(found(Sketch::healthy(200).loss(120, from(f64::NAN))), None);
        let stays = Sketch::healthy(200)
            .loss(120, from(50.0))
            .norm(120, from(500.0));
        assert_eq!(found(stays), None);
        let grows = |since: usize, value: f64| value * 200f64.powi(since as i32 + 1);
        assert_eq!(
            found(Sketch::healthy(125).loss(120, grows).norm(120, grows)),
            None
        );
    }

    #[test]
    fn a_row_that_is_more_than_a_step_names_no_batch() {
        let one = |since: usize, value: f64| if since == 0 { 1400.0 * value } else { value };
        let mut trace = Sketch::healthy(200).norm(120, one).trace();
        (trace.cadence, trace.unit) = (Cadence::Unknown, StepUnit::Row);
        let found = RULE.check_run(&History::of(&trace)).unwrap();
        assert!(
            found.title.contains("one row's gradient norm, at row 120"),
            "{found:?}"
        );
        assert!(!found.title.contains("the batch of"), "{found:?}");
    }

    #[test]
    fn an_infinite_input_breaks_the_gradient_of_the_layer_that_reads_it_alone() {
        let nan_from = |first: usize| move |row: usize| if row < first { 1.0 } else { f64::NAN };
        let parameter = |name: &str| Role::ParameterGradNorm(name.into());
        let broken = |input: usize, output: usize| {
            Sketch::healthy(200)
                .norm(120, |_, _| f64::NAN)
                .with(parameter("input.weight"), nan_from(input))
                .with(parameter("output.weight"), nan_from(output))
                .trace()
        };
        let suspected = &super::super::sg017_suspected_backend_fault::RULE;
        let trace = broken(120, 121);
        let history = History::of(&trace);
        let seen = RULE.check_run(&history).unwrap();
        assert!(
            seen.title.contains("`input.weight` alone"),
            "{}",
            seen.title
        );
        assert_eq!(suspected.check_run(&history), None);
        // The whole gradient, or another layer's: nothing points at the batch.
        for (input, output) in [(120, 120), (121, 120)] {
            let trace = broken(input, output);
            let history = History::of(&trace);
            assert_eq!(RULE.check_run(&history), None);
            assert!(suspected.check_run(&history).is_some());
        }
    }
}
