//! SG016: a guard that no longer lets the run move.

use crate::Evidence;
use crate::diagnose::sketch::Sketch;
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, RemedyFamilies, Rule,
};
use crate::trace::Role;

/// Skipped steps in a row that end a run with those who count them (torchtitan, Megatron-LM).
const IN_A_ROW: usize = 5;

pub(super) const RULE: Rule = Rule {
    code: "SG016",
    name: "stalled-guard",
    what: "Five steps in a row or more were not applied: the guard, or a loss scaler, holds the run. Of a run of \
           steadygrad's also how often its guard did not apply a step, and why at first: a note where it was once.",
    why: "The weights do not move, so the next step will be as bad: what was to survive stands still and \
          costs its time.",
    evidence: "A run of steadygrad's, or a column that is 1 where a step was skipped.",
    blind: "Skips that the log does not show.",
    remedy: "Mend what the first skipped step shows. Bound the skips in a row, and stop or go back when \
             they are spent.",
    fix_safety: "Lifting the guard lets the bad update through: never do that.",
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
    let skipped = |index: &usize| series.values()[*index] > 0.0;
    let all = 0..series.values().len();
    let (mut longest, mut from, mut length) = (0..0, 0, 0);
    for index in all.clone() {
        if skipped(&index) {
            length += 1;
            if length == 1 {
                from = index;
            }
            if length > longest.len() {
                longest = from..index + 1;
            }
        } else {
            length = 0;
        }
    }
    if longest.len() < IN_A_ROW {
        return intervened(history);
    }
    // A guard's own record may tell of steps that have no row yet: what came after them is not known.
    let last_row = history.rows().last().map(|row| row.step);
    let is_known = history.account().is_none() || series.steps().last().copied() <= last_row;
    let to_the_end = longest.end == series.values().len() && is_known;
    let (first, last) = (
        series.steps()[longest.start],
        series.steps()[longest.end - 1],
    );
    Some(Finding {
        code: RULE.code.into(),
        level: if to_the_end {
            FindingLevel::Error
        } else {
            FindingLevel::Warning
        },
        title: format!(
            "{} steps in a row were not applied, from step {first} to {last}{}",
            longest.len(),
            if to_the_end {
                ", the end of the log"
            } else {
                ""
            }
        ),
        step: Some(first),
        until: Some(last),
        evidence: vec![
            Evidence::new("longest run of skipped steps", longest.len() as f64),
            Evidence::new("skipped steps in all", all.filter(skipped).count() as f64),
        ],
        why: RULE.why.into(),
        help: format!(
            "Mend what step {first} shows; stop or go back after {IN_A_ROW} skips in a row."
        ),
        notes: history.account().map(str::to_owned).into_iter().collect(),
        ..Finding::default()
    })
}

/// What a guard did without holding the run: there is something to mend although nothing of it was lost.
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
        why: "Without the guard these steps would have reached the weights; what made them bad is still there.".into(),
        help: format!("Mend what step {first} shows; `incidents.jsonl` has the reason of every one."),
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
    fn what_a_guard_did_is_told_although_the_run_moves() {
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
