//! SG019: the norm rises, and no fault was found.

use crate::Evidence;
use crate::diagnose::run::median;
use crate::diagnose::sketch::{Sketch, diverging};
use crate::diagnose::{
    Ending, Example, Finding, FindingLevel, GradientEffect, History, Needs, RemedyFamilies, Row,
    Rule,
};
use crate::trace::Role;

/// Times the norm of the first fifth of the log: a rise that people take for a fault.
const RISEN: f64 = 3.0;

/// The least rows of a log that the rule reads.
const LEAST_ROWS: usize = 50;

pub(super) const RULE: Rule = Rule {
    code: "SG019",
    name: "rising-norm",
    what: "The gradient norm has risen over the run, the loss has fallen, and nothing else was \
           found: a note, not a fault.",
    why: "A norm by itself does not measure health. It rises as a model leaves a plateau, as \
          weights under normalisation shrink, and where few parameters carry most of it.",
    evidence: "`grad_norm` and `loss`, at least fifty rows.",
    needs: Needs {
        columns: &[Role::Loss, Role::GradNorm],
        ..Needs::SUPERVISED
    },
    blind: "The next thousand steps: SG002 reports a rise that turns explosive.",
    remedy: "None. Do not lower a clip threshold or the learning rate because of it.",
    fix_safety: "Nothing is changed.",
    references: &[
        "marin#9149: one layer carried 95 % of a rising norm, and no intervention was right",
    ],
    example: Example::Logs {
        fires: || {
            Sketch::healthy(200)
                .norm(0, |row, norm| norm * (1.0 + row as f64 / 25.0))
                .trace()
        },
        silent: || diverging().trace(),
    },
    families: RemedyFamilies::NONE,
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: None,
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let rows = history.rows();
    if rows.len() < LEAST_ROWS || history.ending() != Ending::Alive || history.rise().is_some() {
        return None;
    }
    let part = rows.len() / 5;
    let (begin, end) = (&rows[..part], &rows[rows.len() - part..]);
    let norm = |rows: &[Row]| median(rows.iter().filter_map(|row| row.grad_norm));
    let loss = |rows: &[Row]| median(rows.iter().filter_map(|row| row.loss));
    let (from, to) = (norm(begin)?, norm(end)?);
    let (before, after) = (loss(begin)?, loss(end)?);
    if !(from > 0.0 && to > RISEN * from && after < before) {
        return None;
    }
    let last = history.step(rows.len() - 1);
    let mut evidence = vec![
        Evidence::new("norm of the last fifth over the first fifth", to / from),
        Evidence::new(
            "loss of the last fifth over the first fifth",
            after / before,
        ),
    ];
    let share = history.largest_share(last);
    if let Some((name, share)) = share {
        evidence.push(Evidence::new(
            format!("share of the squared norm in `{name}`"),
            share,
        ));
    }
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Note,
        title: format!(
            "the norm has risen x{:.1} while the loss fell: by itself no fault",
            to / from
        ),
        step: rows.first().map(|row| row.step),
        until: Some(last),
        evidence,
        chart: history.chart(&Role::GradNorm, 0..rows.len()),
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    })
}
