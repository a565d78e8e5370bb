//! SG009: one batch unlike the others.

use super::sg005_loss_spike::BATCH_ROWS;
use super::sg014_schedule_jump::jumped_at;
use crate::Evidence;
use crate::detect::Detector;
use crate::diagnose::Streak;
use crate::diagnose::sketch::{Sketch, healthy};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, RemedyFamilies, Row, Rule,
};
use crate::trace::Role;

pub(super) const RULE: Rule = Rule {
    code: "SG009",
    name: "outlier-batch",
    what: "The loss or the gradient of one batch is far out of line, while the weights and the \
           learning rate did not change: the batch is odd, not the training.",
    why: "A single update from such a batch can undo thousands; with a NaN in it, all.",
    evidence: "`loss` and `grad_norm`, every step. Both are measured before the update, so a jump \
               from one row to the next after a calm row comes from the batch. With \
               `grad_norm/<parameter>` also a gradient that is not finite in the first layer \
               alone: an infinite input makes it, if a saturating activation hides the input's \
               size from the loss.",
    blind: "Weights that something else changed look the same: `weight_norm` tells the two apart \
            (SG008). With many steps between rows it cannot tell a batch from what followed it.",
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

/// Whether the streak's first row stands out by itself, after calm rows.
fn out_of_the_blue(history: &History<'_>, streak: &Streak) -> bool {
    let first = streak.from..streak.from + 1;
    let row = &history.rows()[streak.from];
    let enough = streak.from >= BATCH_ROWS;
    let broken = row.loss.is_some_and(|loss| !loss.is_finite())
        || history.broken_at_the_input(streak.from).is_some();
    let far = [Detector::LossSpike, Detector::NormSpike]
        .into_iter()
        .any(|detector| history.harmful(detector, first.clone()).is_some());
    enough && (broken || far) && jumped_at(history, streak.from).is_none()
}

/// Whether the streak ended before the log did, and the run was not lost in it.
fn came_back(history: &History<'_>, streak: &Streak) -> bool {
    streak.to < history.rows().len() && history.onset() != Some(streak.from)
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    let streaks = || {
        let all = history.streaks().iter();
        all.filter(|streak| out_of_the_blue(history, streak))
    };
    let fatal = |streak: &&Streak| history.onset() == Some(streak.from);
    let alone = |streak: &&Streak| streak.rows().len() <= BATCH_ROWS && came_back(history, streak);
    let worst = streaks().find(fatal).or_else(|| {
        let alone = streaks().filter(alone);
        alone.max_by(|a, b| size(history, a).total_cmp(&size(history, b)))
    })?;
    let (step, row) = (history.step(worst.from), history.rows()[worst.from]);
    // Weights that jumped into this row explain it.
    let weights = super::sg008_weight_growth::RULE.check_run(history);
    if weights.is_some_and(|found| found.until == Some(step)) {
        return None;
    }
    let lost = fatal(&worst);
    let count = streaks().filter(alone).count() + usize::from(lost);
    let role = match row.grad_norm {
        Some(_) => Role::GradNorm,
        None => Role::Loss,
    };
    let clip = worst.usual_norm.map_or(String::new(), |norm| {
        format!(
            " Clip by the global norm at {:.3}, twice the usual.",
            2.0 * norm
        )
    });
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
        help: format!(
            "Look at the samples of that batch, and skip steps so far out of line.{clip}"
        ),
        notes: match history.trace().series(&Role::WeightNorm) {
            Some(_) => Vec::new(),
            None => vec![
                "Log `weight_norm` to rule out weights that something else changed at that step."
                    .into(),
            ],
        },
        ..Finding::default()
    })
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
    let (step, row) = (history.step(streak.from), &history.rows()[streak.from]);
    let broken = row.loss.filter(|loss| !loss.is_finite());
    match (broken, history.broken_at_the_input(streak.from)) {
        (Some(loss), _) => format!("the batch of step {step} gives a loss of {loss}"),
        (None, Some(input)) => format!(
            "the batch of step {step} breaks the gradient of `{input}` alone: probably an \
             infinite input"
        ),
        (None, None) => {
            let ratio = size(history, streak);
            let times = if ratio.is_finite() {
                format!(": x{ratio:.1e} the usual")
            } else {
                String::new()
            };
            format!("the batch of step {step} is unlike the others{times}")
        }
    }
}

fn evidence(row: Row, streak: &Streak, count: usize) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for (name, value, usual) in [
        ("loss of that batch", row.loss, streak.usual_loss),
        ("its gradient norm", row.grad_norm, streak.usual_norm),
    ] {
        if let (Some(value), Some(usual)) = (value, usual) {
            evidence.push(Evidence::new(name, value));
            evidence.push(Evidence::new("usual before", usual));
        }
    }
    evidence.push(Evidence::new("such batches in the log", count as f64));
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_gives_no_number_is_named_after_it() {
        let nan = |_: usize, _: f64| f64::NAN;
        let slight = |since: usize, value: f64| if since == 0 { 1.1 * value } else { value };
        let trace = Sketch::healthy(200)
            .loss(120, nan)
            .norm(120, slight)
            .trace();
        let seen = RULE.check_run(&History::of(&trace)).unwrap();
        assert_eq!(seen.title, "the batch of step 120 gives a loss of NaN");
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
