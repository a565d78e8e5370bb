//! The trace of a console log: its table of training, and what other lines add to it.

use std::path::Path;
use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::trace::{Cadence, Objective, Role, Series};

use super::names::is_loss;
use super::reader::{Reader, Skip};
use super::rows::{NAMED, Rows, STEP};
use super::steps;
use crate::cadence::Counted;
use crate::column::Column;
use crate::finish::Run;
use crate::names::role;
use crate::objective::objective;
use crate::roles::select;
use crate::steps::StepKind;
use crate::table::series_of;
use crate::{Columns, LogError, name_of};

/// Makes the trace of what was read.
pub(super) fn of(
    path: &Path,
    format: &str,
    mut read: Reader,
    columns: &Columns,
) -> Result<Trace, LogError> {
    let Some(main) = training(path, &read, columns)? else {
        return Err(LogError::unrecognised(path, refusal(&read)));
    };
    let mut rows = std::mem::take(&mut read.tables[main]);
    let found = steps::of(&rows);
    let (steps, unit, cadence) = (found.steps, found.unit, found.cadence);
    let mut notes: Vec<String> = found.note.into_iter().collect();
    let beside = beside(&read.tables, &rows, &steps);
    let mut names = rows.names.clone();
    names.extend(beside.iter().map(|(name, ..)| name.clone()));
    let selection = select(path, &names, columns)?;
    notes.extend(selection.notes);
    let own_count = rows.names.len();
    let steps = chosen(&selection.steps, &rows).unwrap_or(steps);
    let (own, other): (Vec<_>, Vec<_>) = selection
        .roles
        .into_iter()
        .partition(|(index, _)| *index < own_count);
    let mut taken = take(&mut rows, own);
    let steps = insert_skips(&mut taken, steps, &rows.lines, &read.skips, &mut notes);
    let mut unmatched = selection.unmatched;
    unmatched.extend(read.others.iter().cloned());
    let all = names.iter().chain(&unmatched).map(String::as_str);
    let objective = objective(all);
    let series = taken.into_iter();
    let mut series: Vec<Series> = series
        .filter_map(|(role, name, column)| series_of(role, name, column, &steps))
        .collect();
    series.extend(other.into_iter().filter_map(|(index, role)| {
        let (name, steps, values) = &beside[index - own_count];
        Series::new(role, name, steps.as_slice().into(), values.clone()).ok()
    }));
    let run = Run {
        name: name_of(path),
        format: format.into(),
        series,
        unmatched,
        notes,
        objective,
        counted: Counted {
            unit,
            counts_updates: cadence != Cadence::Unknown,
            is_by_epoch: cadence == Cadence::Epoch,
        },
    };
    let mut trace = run.trace();
    // Between two rows of skipped updates there is no stride.
    if !read.skips.is_empty() && trace.cadence != Cadence::Epoch {
        trace.cadence = cadence;
    }
    Ok(trace)
}

/// The steps in the column that the user named.
fn chosen(steps: &[(usize, StepKind)], rows: &Rows) -> Option<Arc<[u64]>> {
    let (index, kind) = steps.first()?;
    let column = rows
        .values(NAMED + index)
        .filter(|_| *kind == StepKind::Named)?;
    Some(column.values.iter().map(|step| *step as u64).collect())
}

/// Takes the columns that have a role out of a table, whose others are dropped.
fn take(rows: &mut Rows, roles: Vec<(usize, Role)>) -> Vec<(Role, String, Column)> {
    let count = rows.count();
    let taken = roles.into_iter().map(|(index, role)| {
        let column = rows.columns.get_mut(NAMED + index).map(std::mem::take);
        let mut column = column.unwrap_or_default();
        column.fill(count);
        (role, rows.names[index].clone(), column)
    });
    let taken = taken.collect();
    rows.columns.clear();
    taken
}

/// The table of training: of those with a loss, or else another role, the longest.
fn training(path: &Path, read: &Reader, columns: &Columns) -> Result<Option<usize>, LogError> {
    let mut best: Option<((bool, usize), usize)> = None;
    let mut missing = None;
    for (index, rows) in read.tables.iter().enumerate() {
        if rows.evaluation || !is_log(rows, read) {
            continue;
        }
        match select(path, &rows.names, columns) {
            Ok(_) => {
                let loss = rows.names.iter().any(|name| is_loss(name));
                let rank = (loss, rows.count());
                if best.is_none_or(|(other, _)| rank > other) {
                    best = Some((rank, index));
                }
            }
            Err(LogError::NoRole { .. }) => {}
            Err(error) => missing = missing.or(Some((rows.count(), error))),
        }
    }
    match (best, missing) {
        (Some((_, index)), _) => Ok(Some(index)),
        (None, Some((_, error))) => Err(error),
        (None, None) => Ok(None),
    }
}

/// Whether the rows may be a log: several, or one that says where it stands. One number behind the
/// word `loss` is no log.
fn is_log(rows: &Rows, read: &Reader) -> bool {
    let spot = (0..NAMED).any(|place| rows.values(place).is_some());
    let wide = rows.names.len() > 1;
    rows.count() >= 3
        || rows.count() >= 2 && wide
        || rows.count() >= 1 && spot
        || rows.count() >= 1 && !read.skips.is_empty()
}

fn refusal(read: &Reader) -> String {
    let looks = match &read.samples[..] {
        [] => String::new(),
        samples => format!("; lines look like `{}`", samples.join("`, `")),
    };
    format!("this looks like text without a number for the loss{looks}")
}

/// Values of other lines at steps of this table: their name, steps and values.
type Beside = (String, Vec<u64>, Vec<f64>);

/// What other tables have: losses of evaluations, rewards, norms. A loss of training stays out.
fn beside(tables: &[Rows], main: &Rows, steps: &[u64]) -> Vec<Beside> {
    let mut found: Vec<Beside> = Vec::new();
    for rows in tables {
        for (index, name) in rows.names.iter().enumerate() {
            let known = [Objective::Supervised, Objective::Rl]
                .into_iter()
                .find_map(|kind| Some(role(name, kind)?.0));
            let lone = !main.names.contains(name) && !found.iter().any(|other| other.0 == *name);
            let reward = ["reward", "return", "kl"]
                .iter()
                .any(|part| name.to_lowercase().contains(part));
            let wanted = known.is_some_and(|role| !matches!(role, Role::Loss | Role::Skipped));
            if !(lone && (wanted || reward && !is_loss(name))) {
                continue;
            }
            let Some(column) = rows.values(NAMED + index) else {
                continue;
            };
            let own = rows.values(STEP).filter(|_| main.values(STEP).is_some());
            let (mut at, mut values) = (Vec::new(), Vec::new());
            for (row, value) in column.values.iter().enumerate() {
                if column.missing.binary_search(&(row as u64)).is_ok() {
                    continue;
                }
                let before = main.lines.partition_point(|line| *line <= rows.lines[row]);
                let named = own
                    .and_then(|own| own.values.get(row))
                    .filter(|step| **step >= 0.0);
                let step = named.map(|step| *step as u64);
                let Some(step) = step.or(steps.get(before.saturating_sub(1)).copied()) else {
                    continue;
                };
                // A bar of an evaluation is drawn many times; its last state counts.
                if at.last() == Some(&step) {
                    values.pop();
                    at.pop();
                }
                at.push(step);
                values.push(*value);
            }
            found.push((name.clone(), at, values));
        }
    }
    found
}

/// Puts the updates that were left out between the rows, as rows with a loss scale and a norm.
fn insert_skips(
    columns: &mut Vec<(Role, String, Column)>,
    steps: Arc<[u64]>,
    lines: &[u32],
    skips: &[Skip],
    notes: &mut Vec<String>,
) -> Arc<[u64]> {
    if skips.is_empty() {
        return steps;
    }
    notes.push(format!(
        "{} lines say that an update was skipped",
        skips.len()
    ));
    let order = order(&steps, lines, skips);
    let mut old = std::mem::take(columns);
    let mut take = |role: Role| {
        let at = old.iter().position(|(other, ..)| *other == role)?;
        Some(old.swap_remove(at))
    };
    let extra = [Role::Skipped, Role::LossScale, Role::GradNorm].map(|role| {
        let (_, name, column) =
            take(role.clone()).unwrap_or((role.clone(), role.column(), Column::default()));
        (role, name, column)
    });
    for (role, name, column) in old.into_iter().chain(extra) {
        let mut all = Column::default();
        for (_, row) in &order {
            all.push(match row {
                Row::Own(row) => cell(&column, *row).or((role == Role::Skipped).then_some(0.0)),
                Row::Skip(skip) => match role {
                    Role::Skipped => Some(1.0),
                    Role::LossScale => skips[*skip].scale,
                    Role::GradNorm => skips[*skip].norm,
                    _ => None,
                },
            });
        }
        columns.push((role, name, all));
    }
    order.into_iter().map(|(step, _)| step).collect()
}

fn cell(column: &Column, row: usize) -> Option<f64> {
    let missing = column.missing.binary_search(&(row as u64)).is_ok();
    column.values.get(row).copied().filter(|_| !missing)
}

#[derive(Clone, Copy)]
enum Row {
    Own(usize),
    Skip(usize),
}

/// Rows and skips in the order of their lines. A skip without a step has that after the row or skip
/// before it, as long as that is before the next row.
fn order(steps: &[u64], lines: &[u32], skips: &[Skip]) -> Vec<(u64, Row)> {
    let mut order = Vec::with_capacity(steps.len() + skips.len());
    let mut skip = 0;
    let mut last: Option<u64> = None;
    for row in 0..=steps.len() {
        while let Some(one) = skips
            .get(skip)
            .filter(|one| lines.get(row).is_none_or(|line| one.line < *line))
        {
            let next = last.map_or(0, |last| last + 1);
            let step = one.step.unwrap_or_else(|| match steps.get(row) {
                Some(row) => next.min((*row).max(last.unwrap_or(0))),
                None => next,
            });
            order.push((step, Row::Skip(skip)));
            last = Some(step);
            skip += 1;
        }
        if let Some(step) = steps.get(row) {
            order.push((*step, Row::Own(row)));
            last = Some(*step);
        }
    }
    order
}
