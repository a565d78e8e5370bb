//! SG020: a NaN or an infinity that nothing in the log announced.

use crate::Evidence;
use crate::diagnose::sketch::{Sketch, diverging};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Row,
    Rule,
};
use crate::trace::{Cadence, Role, StepUnit};

/// Rows before the value in which a rate that rises makes it the first suspect: the guard's
/// warm-up.
const BEFORE: usize = 20;

pub(super) const RULE: Rule = Rule {
    code: "SG020",
    name: "non-finite-after-calm",
    what: "The loss or the gradient norm is NaN or infinite, and no growth in the log announced \
           it.",
    why: "One such value reaches every weight at the next update. A log shows where it was seen, \
          not which operation made it.",
    evidence: "`loss` or `grad_norm`. A loss of exactly 0 beside a NaN norm, or from one row to \
               the next, is one too: Hugging Face's Trainer prints a NaN loss as 0. A NaN norm \
               beside a finite loss in a run that goes on is a step that was left out, and a note.",
    needs: Needs::ANY,
    blind: "The cause. Growth within the steps between two rows.",
    remedy: "Load the last checkpoint before it and run `steadygrad.torch.find_non_finite` on the \
             batches that follow: it names the operation. Clipping leaves a NaN as it is.",
    fix_safety: "Going back loses the steps since; the weights after a NaN are worth nothing.",
    references: &[
        "Hugging Face's `logging_nan_inf_filter`: a NaN loss is logged as 0",
        "Micikevicius et al., 2018: Mixed precision training",
    ],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(60)
                .loss(50, |_, _| f64::NAN)
                .norm(50, |_, _| f64::NAN)
                .trace()
        },
        silent: || diverging().loss(125, |_, _| f64::NAN).trace(),
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Explodes,
    hit_rate: None,
    before_training: None,
    of_run: Some(of_run),
};

/// Whether the row's loss is not finite, and whether its norm alone is not.
fn broken(row: &Row) -> (bool, bool) {
    let odd = |value: Option<f64>| value.is_some_and(|value| !value.is_finite());
    (odd(row.loss), odd(row.grad_norm) && !odd(row.loss))
}

fn of_run(history: &History<'_>) -> Option<Finding> {
    let suspected = &super::sg017_suspected_backend_fault::RULE;
    if history.rise().is_some() || suspected.check_run(history).is_some() {
        return None;
    }
    match history.ending() {
        Ending::NonFinite { row } => Some(to_the_end(history, row)),
        _ => passed(history),
    }
}

/// A value that is not finite from this row to the end.
fn to_the_end(history: &History<'_>, row: usize) -> Finding {
    let (what, value) = seen(history, row);
    let last_finite = row.checked_sub(1);
    let title = match last_finite {
        None => format!("{what} is {value} from the first row on"),
        Some(last) => format!(
            "{what} is {value} from {} on, after {} without growth",
            history.place(row),
            history.place(last)
        ),
    };
    Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title,
        step: Some(history.step(row)),
        until: history.rows().last().map(|row| row.step),
        evidence: vec![
            Evidence::new("first row that is not finite", row as f64),
            Evidence::new("finite rows before", row as f64),
        ],
        chart: history.chart(&Role::Loss, row.saturating_sub(36)..row + 4),
        why: why(history, row),
        help: help(history, row),
        notes: causes(history, row),
        ..Finding::default()
    }
}

/// The column that is not finite, and its value as the log has it.
fn seen(history: &History<'_>, row: usize) -> (String, String) {
    let at = &history.rows()[row];
    let name = |role: &Role| format!("`{}`", history.column(role));
    match (at.loss, at.grad_norm) {
        (Some(_), _) if history.filtered() == Some(row) => (
            name(&Role::Loss),
            "exactly 0, a NaN that the logger hides,".into(),
        ),
        (Some(loss), _) if !loss.is_finite() => (name(&Role::Loss), loss.to_string()),
        (_, Some(norm)) if !norm.is_finite() => (name(&Role::GradNorm), norm.to_string()),
        _ => ("a part of the loss".into(), "not finite".into()),
    }
}

fn why(history: &History<'_>, row: usize) -> String {
    let mut why = String::new();
    if history.filtered() == Some(row) {
        why += "A loss does not fall to exactly 0 from one row to the next. Hugging Face's Trainer \
                prints a NaN loss as 0. ";
    }
    why += RULE.why;
    why
}

/// How many steps lie between the last finite row and this one, where the log counts steps.
fn hidden(history: &History<'_>, row: usize) -> Option<u64> {
    let last = row.checked_sub(1)?;
    let steps = history.step(row).checked_sub(history.step(last))?;
    let counts = history.unit() == StepUnit::Step && history.cadence() != Cadence::Epoch;
    (counts && steps > 1).then_some(steps)
}

fn help(history: &History<'_>, row: usize) -> String {
    let Some(last) = row.checked_sub(1) else {
        return "Run `steadygrad.torch.find_non_finite` on the untrained model and the first batch: \
                it names the operation, or the input, that is not finite."
            .into();
    };
    let place = history.place(last);
    let batches = match hidden(history, row) {
        Some(steps) => format!("the {steps} batches that follow"),
        None => "the batches that follow".into(),
    };
    format!(
        "Go back to a checkpoint at or before {place}. Run `steadygrad.torch.find_non_finite` from \
         there on {batches}: it names the operation."
    )
}

/// What usually makes such a value, the likeliest for this log in front.
fn causes(history: &History<'_>, row: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(steps) = hidden(history, row) {
        notes.push(format!(
            "The log has no row for the {} steps in between: growth within them cannot be seen.",
            steps - 1
        ));
    } else if !history.is_by_step() && row > 0 {
        notes.push("Within one row there may be many steps: growth in them cannot be seen.".into());
    }
    let format = "a value that its number format cannot hold (f16 ends at 65,504)";
    let data = "a batch with NaN, infinite or empty samples";
    let operation = "an operation at the edge of its domain: log or sqrt of 0, a division by 0";
    let rate = "a learning rate that has become too high";
    let mut causes = if row == 0 {
        vec![data, rate, operation, format]
    } else {
        vec![format, data, operation, rate]
    };
    let is_scaled = history.trace().series(&Role::LossScale).is_some();
    if !is_scaled && row > 0 {
        causes.rotate_left(1);
        causes.swap(2, 3);
    }
    if rate_rises(history, row) {
        causes.retain(|cause| *cause != rate);
        causes.insert(0, rate);
    }
    causes.truncate(3);
    notes.push(format!(
        "Usual causes, likeliest first: {}.",
        causes.join("; ")
    ));
    notes
}

/// Whether the rate was still going up at this row.
fn rate_rises(history: &History<'_>, row: usize) -> bool {
    let rate = |row: usize| history.rows().get(row)?.learning_rate();
    let before = rate(row.saturating_sub(BEFORE)).or_else(|| rate(0));
    row > 0
        && before
            .zip(rate(row))
            .is_some_and(|(before, now)| now > before)
}

/// Values that are not finite in a run that went on.
fn passed(history: &History<'_>) -> Option<Finding> {
    let rows = || history.rows().iter().enumerate();
    let by_loss: Vec<usize> = rows()
        .filter(|(_, row)| broken(row).0)
        .map(|(index, _)| index)
        .collect();
    let by_norm: Vec<usize> = rows()
        .filter(|(_, row)| broken(row).1)
        .map(|(index, _)| index)
        .collect();
    let is_loss = !by_loss.is_empty();
    let all = if is_loss { by_loss } else { by_norm };
    let (first, last) = (*all.first()?, *all.last()?);
    let (what, value) = seen(history, first);
    let count = match all.len() {
        1 => "the run went on".to_owned(),
        count => format!("{count} such rows, and the run went on"),
    };
    let finding = Finding {
        code: RULE.code.into(),
        title: format!("{what} is {value} at {}; {count}", history.place(first)),
        step: Some(history.step(first)),
        until: Some(history.step(last)),
        evidence: vec![Evidence::new("rows that are not finite", all.len() as f64)],
        chart: history.chart(&Role::Loss, first.saturating_sub(36)..first + 36),
        ..Finding::default()
    };
    Some(if is_loss {
        Finding {
            level: FindingLevel::Warning,
            why: "A loss that is finite again shows that the value did not reach the weights: the \
                  step was left out. What made it is still there."
                .into(),
            help: if history.is_by_step() {
                format!(
                    "Look at the batch of {} first, then run `steadygrad.torch.find_non_finite` on \
                     it.",
                    history.place(first)
                )
            } else {
                format!(
                    "Run `steadygrad.torch.find_non_finite` on the batches up to {}.",
                    history.place(first)
                )
            },
            notes: causes(history, first),
            ..finding
        }
    } else {
        Finding {
            level: FindingLevel::Note,
            why:
                "The loss beside it stays ordinary: such a step was left out. An fp16 loss scaler \
                  does that to a step that overflows."
                    .into(),
            help: "None, while such rows are few. If they become many, train in bf16.".into(),
            ..finding
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{RunDiagnosis, RunState};
    use crate::trace::{Cadence, Trace};

    fn coarse(sketch: Sketch) -> Trace {
        let mut trace = sketch.trace();
        trace.cadence = Cadence::Steps(10);
        trace
    }

    fn nan(_: usize, _: f64) -> f64 {
        f64::NAN
    }

    #[test]
    fn says_what_is_known_and_names_no_batch() {
        let trace = coarse(Sketch::healthy(60).loss(50, nan).norm(50, nan));
        let found = RunDiagnosis::of(&trace);
        assert_eq!(found.state, RunState::NonFinite { step: 50 });
        let codes: Vec<&str> = found
            .findings
            .iter()
            .map(|each| each.code.as_str())
            .collect();
        assert_eq!(codes, ["SG020"]);
        let head = &found.findings[0];
        assert!(
            head.title.contains("from step 50 on, after step 49"),
            "{head:?}"
        );
        assert!(!format!("{head:?}").contains("the batch of"), "{head:?}");
        assert!(head.help.contains("find_non_finite"), "{head:?}");
        // The rate was going up.
        let rising = Sketch::healthy(60)
            .loss(50, nan)
            .rate(0, |row, rate| rate * row as f64);
        let found = RunDiagnosis::of(&coarse(rising));
        assert_eq!(found.findings[0].code, "SG020");
        assert!(
            found.findings[0]
                .notes
                .concat()
                .contains("first: a learning rate")
        );
    }

    #[test]
    fn a_nan_from_the_first_row_points_at_data_and_rate() {
        let found = RunDiagnosis::of(&coarse(Sketch::healthy(12).loss(0, nan)));
        let head = &found.findings[0];
        assert_eq!((head.code.as_str(), head.step), ("SG020", Some(0)));
        assert!(
            head.notes.concat().contains("first: a batch with NaN"),
            "{head:?}"
        );
    }

    #[test]
    fn a_nan_that_is_printed_as_zero_is_found() {
        let zero = |_: usize, _: f64| 0.0;
        for sketch in [
            Sketch::healthy(60).loss(40, zero).norm(40, nan),
            Sketch::healthy(60).loss(40, zero).norm(40, zero),
        ] {
            let found = RunDiagnosis::of(&coarse(sketch));
            assert_eq!(found.state, RunState::NonFinite { step: 40 });
            let head = &found.findings[0];
            assert_eq!(head.code, "SG020");
            assert!(head.title.contains("exactly 0") && head.why.contains("prints a NaN"));
        }
    }

    #[test]
    fn a_norm_that_is_nan_beside_a_loss_that_goes_on_is_a_note() {
        let one = |since: usize, norm: f64| {
            if since.is_multiple_of(12) {
                f64::NAN
            } else {
                norm
            }
        };
        for trace in [
            Sketch::healthy(60).norm(11, one).trace(),
            coarse(Sketch::healthy(60).norm(11, one)),
            coarse(Sketch::healthy(48).norm(11, one)),
        ] {
            let found = RunDiagnosis::of(&trace);
            assert!(matches!(
                found.state,
                RunState::Alive | RunState::NothingSeen
            ));
            assert!(
                found
                    .findings
                    .iter()
                    .all(|each| each.level == FindingLevel::Note)
            );
            assert_eq!(found.findings[0].code, "SG020");
        }
    }

    #[test]
    fn of_two_batches_that_were_left_out_the_first_is_the_headline_and_clipping_no_help() {
        let trace = Sketch::healthy(400)
            .loss(150, |since, loss| {
                if since.is_multiple_of(200) {
                    f64::NAN
                } else {
                    loss
                }
            })
            .trace();
        let found = RunDiagnosis::of(&trace);
        let head = &found.findings[0];
        assert_eq!(
            (head.code.as_str(), head.step, head.until),
            ("SG020", Some(150), Some(350))
        );
        assert!(!head.help.to_lowercase().contains("clip"), "{head:?}");
    }

    #[test]
    fn four_rows_are_enough() {
        let found = RunDiagnosis::of(&coarse(Sketch::healthy(4).loss(2, nan).norm(2, nan)));
        assert_eq!(found.state, RunState::NonFinite { step: 2 });
        assert_eq!(found.findings[0].code, "SG020");
    }
}
