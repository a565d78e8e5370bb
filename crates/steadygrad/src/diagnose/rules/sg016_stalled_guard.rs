//! SG016: a guard or a loss scaler holds the run, or intervened in it.

use std::ops::Range;

use crate::Evidence;
use crate::diagnose::run::median;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Rule,
};
use crate::trace::Role;

/// Skipped steps in a row after which torchtitan and Megatron-LM end a run.
const IN_A_ROW: usize = 5;

/// Up to this many times the usual norm a step does not stand out.
const ORDINARY: f64 = 4.0;

pub(super) const RULE: Rule = Rule {
    code: "SG016",
    name: "stalled-guard",
    what: "At least five steps in a row were not applied: the guard, or a loss scaler, holds the \
           run. In a run of steadygrad's it also says how many steps the guard did not apply, and \
           why at first; a single one is a note.",
    why: "The weights do not move, so the next step will be as bad. The run stands still and \
          costs its time.",
    evidence: "A run of steadygrad's, or a column that is 1 where a step was skipped.",
    needs: Needs {
        columns: &[Role::Skipped],
        ..Needs::ANY
    },
    blind: "Skips that the log does not show.",
    remedy: "Fix what the first skipped step shows. Bound the skips in a row, and stop or go back \
             when they are spent.",
    fix_safety: "Raise a threshold only where the skipped norms are ordinary: else the bad update \
                 gets through.",
    references: &["Counts in a row: torchtitan#916, Megatron-LM#3460"],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(100)
                .with(Role::Skipped, |row| f64::from(row >= 90))
                .trace()
        },
        silent: || {
            Sketch::healthy(100)
                .with(Role::Skipped, |row| f64::from(row % 30 == 7))
                .trace()
        },
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: None,
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let series = history.trace().series(&Role::Skipped)?;
    let skipped = |value: &f64| *value > 0.0;
    let longest = longest(series.values(), skipped);
    if longest.len() < IN_A_ROW {
        return intervened(history);
    }
    // A guard's record may list steps that have no row yet: nobody knows what came after them.
    let last_row = history.rows().last().map(|row| row.step);
    let is_known = history.account().is_none() || series.steps().last().copied() <= last_row;
    let to_the_end = longest.end == series.values().len() && is_known;
    let (first, last) = (
        series.steps()[longest.start],
        series.steps()[longest.end - 1],
    );
    let (level, end) = if to_the_end {
        (FindingLevel::Error, ", the end of the log")
    } else {
        (FindingLevel::Warning, "")
    };
    // A loss scale that begins too large skips steps until it fits.
    let settles = history.trace().series(&Role::LossScale).is_some() && !to_the_end;
    if settles {
        return intervened(history);
    }
    let ordinary = ordinary_norms(history, first, last);
    let all = series.values().iter().filter(|value| skipped(value));
    Some(Finding {
        code: RULE.code.into(),
        level,
        title: format!(
            "{} steps in a row were not applied, from {} to {last}{end}",
            longest.len(),
            history.at(first)
        ),
        step: Some(first),
        until: Some(last),
        evidence: vec![
            Evidence::new("longest run of skipped steps", longest.len() as f64),
            Evidence::new("skipped steps in all", all.count() as f64),
        ],
        why: RULE.why.into(),
        help: match ordinary {
            Some((low, high)) => format!(
                "The norms of these steps, {low:.3} to {high:.3}, are as ordinary as those before: \
                 raise the guard's threshold above {high:.3}."
            ),
            None => format!(
                "Fix what {} shows; stop or go back after {IN_A_ROW} skips in a row.",
                history.at(first)
            ),
        },
        notes: history.account().map(str::to_owned).into_iter().collect(),
        ..Finding::default()
    })
}

/// The smallest and the largest norm of the skipped steps, if they are close to each other and to
/// what was usual before: then the guard's threshold is wrong, not the run.
fn ordinary_norms(history: &History<'_>, first: u64, last: u64) -> Option<(f64, f64)> {
    let norms = |wanted: &dyn Fn(u64) -> bool| -> Vec<f64> {
        let rows = history.rows().iter().filter(|row| wanted(row.step));
        rows.filter_map(|row| row.grad_norm).collect()
    };
    let skipped = norms(&|step| (first..=last).contains(&step));
    let before = median(norms(&|step| step < first).into_iter());
    let low = skipped.iter().copied().reduce(f64::min)?;
    let high = skipped.iter().copied().reduce(f64::max)?;
    let is_usual = before.is_none_or(|before| high <= ORDINARY * before);
    let all_finite = skipped.iter().all(|norm| norm.is_finite());
    (all_finite && low > 0.0 && high <= ORDINARY * low && is_usual).then_some((low, high))
}

/// The first of the longest stretches of such values.
fn longest(values: &[f64], is_such: impl Fn(&f64) -> bool) -> Range<usize> {
    let (mut longest, mut from) = (0..0, 0);
    for (index, value) in values.iter().enumerate() {
        if !is_such(value) {
            from = index + 1;
        } else if index + 1 - from > longest.len() {
            longest = from..index + 1;
        }
    }
    longest
}

/// What a guard did without holding the run: there is something to fix although nothing was lost.
fn intervened(history: &History<'_>) -> Option<Finding> {
    let account = history.account()?;
    let steps: Vec<u64> = history.skipped_steps().collect();
    let (first, last) = (*steps.first()?, *steps.last()?);
    Some(Finding {
        code: RULE.code.into(),
        // One bad batch in a run is what a guard is for.
        level: if steps.len() > 1 {
            FindingLevel::Warning
        } else {
            FindingLevel::Note
        },
        title: account.into(),
        step: Some(first),
        until: Some(last),
        evidence: vec![Evidence::new("steps not applied", steps.len() as f64)],
        why: "Without the guard these steps would have reached the weights. What made them bad is \
              still there."
            .into(),
        help: format!("Fix what step {first} shows; `incidents.jsonl` has each step's reason."),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::GUARDED;

    fn of(skipped: impl Fn(usize) -> bool) -> Option<Finding> {
        let sketch = Sketch::healthy(100).with(Role::Skipped, |row| f64::from(skipped(row)));
        let mut trace = sketch.trace();
        trace.notes.push(format!("{GUARDED}: a reason"));
        RULE.check_run(&History::of(&trace))
    }

    #[test]
    fn what_a_guard_did_is_reported_although_the_run_moves() {
        let found = of(|row| row % 30 == 7).unwrap();
        assert_eq!(
            (found.level, found.step, found.until),
            (FindingLevel::Warning, Some(7), Some(97))
        );
        assert_eq!(found.title, format!("{GUARDED}: a reason"));
        assert_eq!(of(|row| row == 7).unwrap().level, FindingLevel::Note);
        assert_eq!(of(|_| false), None);
        let held = of(|row| (50..60).contains(&row)).unwrap();
        assert!(held.title.starts_with("10 steps in a row"), "{held:?}");
        assert_eq!(held.notes, [format!("{GUARDED}: a reason")]);
    }
}
