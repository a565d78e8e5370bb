//! The step of each row: which column tells it, and what it counts.

use std::sync::Arc;

use steadygrad::trace::StepUnit;

use crate::cadence::usual_stride;
use crate::column::Column;
use crate::names::{place, plain};

/// What a column of steps counts. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StepKind {
    /// Whatever the user says.
    Named,
    /// Optimizer steps.
    Update,
    /// Steps of an environment.
    Environment,
    /// Rounds of several updates, as reinforcement learning counts them.
    Round,
    /// Calls of the logger, as W&B counts them.
    Call,
    /// Batches within an epoch.
    Batch,
    /// Passes over the data, or a position within them.
    Epoch,
}

/// The names of each kind, the best first, as [`plain`] spells them.
const NAMES: [(StepKind, &[&str]); 6] = [
    (
        StepKind::Update,
        &[
            "step",
            "global_step",
            "global_step_max_steps",
            "current_steps",
            "current_step",
            "optimizer_step",
            "opt_step",
            "train_step",
            "steps",
            "global_steps",
            "train_steps",
            "iteration",
            "iter",
            "iterations",
            "iters",
            "iter_num",
            "n_iter",
            "itr",
            "num_updates",
            "update",
            "updates",
            "num_steps",
        ],
    ),
    (
        StepKind::Environment,
        &[
            "total_timesteps",
            "time_total_timesteps",
            "timesteps_total",
            "num_env_steps_sampled_lifetime",
            "num_env_steps_sampled",
            "env_steps",
            "env_step",
            "total_env_steps",
            "environment_steps",
            "environment_step",
            "num_timesteps",
            "timesteps",
            "frames",
            "total_frames",
        ],
    ),
    (
        StepKind::Round,
        &["training_iteration", "time_iterations", "n_updates"],
    ),
    (StepKind::Call, &["_step"]),
    (
        StepKind::Batch,
        &["batch", "batch_idx", "batch_index", "batch_id", "minibatch"],
    ),
    (
        StepKind::Epoch,
        &[
            "epoch",
            "epochs",
            "epoch_num",
            "current_epoch",
            "epoch_idx",
            "ep",
        ],
    ),
];

/// What a column of this name counts, with the rank among names of the kind. `None` for others.
///
/// In an export of W&B, whose names of metrics begin with the run's, `Step` counts calls.
pub(crate) fn step_kind(name: &str, is_export: bool) -> Option<(StepKind, usize)> {
    if name == "_step" || (is_export && name == "Step") {
        return Some((StepKind::Call, 0));
    }
    let plain = plain(name);
    let ranked = NAMES
        .iter()
        .filter_map(|(kind, names)| Some((place(names, &plain)?, *kind)));
    ranked.min().map(|(rank, kind)| (kind, rank))
}

/// A column that may hold the steps.
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: StepKind,
    pub(crate) column: &'a Column,
}

/// The steps of all rows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Steps {
    pub(crate) steps: Arc<[u64]>,
    pub(crate) unit: StepUnit,
    /// Whether a step is one update of the weights, as far as its name tells.
    pub(crate) counts_updates: bool,
    /// Whether each row is another epoch.
    pub(crate) is_by_epoch: bool,
    /// The names of the columns that tell the steps.
    pub(crate) used: Vec<String>,
}

/// Chooses among the columns, which stand in the order of preference. `filled` are the columns of
/// values: two rows that share one are two rows, whatever their epoch.
pub(crate) fn steps(
    candidates: &[Candidate<'_>],
    filled: &[&Column],
    rows: usize,
    notes: &mut Vec<String>,
) -> Steps {
    let epoch = candidates
        .iter()
        .find(|candidate| candidate.kind == StepKind::Epoch && is_whole(candidate.column));
    let is_by_epoch = epoch.is_some_and(|epoch| rises_always(epoch.column));
    if let Some(best) = candidates
        .iter()
        .find(|candidate| fits(candidate, epoch.is_some(), filled))
    {
        let anew = epoch.filter(|epoch| begins_anew(best.column, epoch.column));
        let steps = match anew {
            Some(epoch) => over_epochs(best, epoch, notes),
            // A batch's place in its epoch is a step only if it begins anew.
            None if best.kind == StepKind::Batch => numbered(candidates, filled, rows, notes),
            None => carried(best, filled, notes),
        };
        let is_numbered = anew.is_none() && best.kind == StepKind::Batch;
        return Steps {
            steps,
            unit: match best.kind {
                StepKind::Environment => StepUnit::EnvironmentStep,
                _ if is_numbered => StepUnit::Row,
                _ => StepUnit::Step,
            },
            counts_updates: !is_numbered
                && matches!(
                    best.kind,
                    StepKind::Named | StepKind::Update | StepKind::Batch
                ),
            is_by_epoch,
            used: [Some(best), anew]
                .into_iter()
                .flatten()
                .filter(|_| !is_numbered)
                .map(|used| used.name.to_owned())
                .collect(),
        };
    }
    if let Some(epoch) = epoch.filter(|epoch| !collides(epoch.column, filled)) {
        return Steps {
            steps: carried(epoch, filled, notes),
            unit: StepUnit::Epoch,
            counts_updates: false,
            is_by_epoch: true,
            used: vec![epoch.name.to_owned()],
        };
    }
    Steps {
        steps: numbered(candidates, filled, rows, notes),
        unit: StepUnit::Row,
        ..Steps::default()
    }
}

/// Whether a column other than the epoch's can tell the steps.
fn fits(candidate: &Candidate<'_>, has_epoch: bool, filled: &[&Column]) -> bool {
    match candidate.kind {
        StepKind::Epoch => false,
        StepKind::Batch => has_epoch && is_whole(candidate.column),
        // A planned number of steps is the same in all rows.
        _ => is_whole(candidate.column) && !collides(candidate.column, filled),
    }
}

/// Whether a value can be a step. f64 has every whole number up to 2^53.
fn is_step(value: f64) -> bool {
    value.fract() == 0.0 && (0.0..=9e15).contains(&value)
}

/// Whether most values of a column are whole numbers, and none has a fraction.
fn is_whole(column: &Column) -> bool {
    let usable = column
        .values
        .iter()
        .filter(|value| is_step(**value))
        .count();
    let is_part = |value: &f64| value.is_finite() && value.fract() != 0.0;
    usable > 0
        && 2 * usable >= column.values.len() - column.missing.len()
        && !column.values.iter().any(is_part)
}

/// Pairs of neighbours that are steps.
fn pairs(column: &Column) -> impl Iterator<Item = (f64, f64)> {
    let mut values = column
        .values
        .iter()
        .copied()
        .filter(|value| is_step(*value));
    let mut last = values.next();
    values.filter_map(move |value| Some((last.replace(value)?, value)))
}

/// Whether each of several rows has another, higher number.
fn rises_always(column: &Column) -> bool {
    column.missing.is_empty() && column.values.len() > 1 && pairs(column).all(|(a, b)| b > a)
}

/// Whether a count goes back where the epoch rises, and seldom elsewhere.
fn begins_anew(count: &Column, epoch: &Column) -> bool {
    let (mut last, mut rises, mut anew, mut elsewhere) = (None::<(f64, f64)>, 0, 0, 0);
    for (count, epoch) in count.values.iter().zip(&epoch.values) {
        if !is_step(*count) || !is_step(*epoch) {
            continue;
        }
        if let Some((before, epoch_before)) = last.replace((*count, *epoch)) {
            let back = *count <= before;
            let rose = *epoch > epoch_before;
            rises += usize::from(rose);
            anew += usize::from(rose && back);
            elsewhere += usize::from(!rose && *count < before);
        }
    }
    anew > elsewhere && 2 * anew >= rises
}

/// The steps over all epochs of a count that begins anew in each.
fn over_epochs(
    count: &Candidate<'_>,
    epoch: &Candidate<'_>,
    notes: &mut Vec<String>,
) -> Arc<[u64]> {
    let whole = |column: &Column| -> Vec<u64> {
        let steps = column.values.iter().filter(|value| is_step(**value));
        steps.map(|value| *value as u64).collect()
    };
    let counts = whole(count.column);
    let longest = counts.iter().max().copied().unwrap_or(0);
    // A count from 0 ends one stride before the epoch does.
    let stride = usual_stride(&counts).unwrap_or(1);
    let is_from_zero = counts.contains(&0);
    let length = longest + if is_from_zero { stride } else { 0 };
    let first = whole(epoch.column).into_iter().min().unwrap_or(0).min(1);
    notes.push(format!(
        "`{}` begins anew in each `{}`: an epoch is taken to have {length} steps, as far as the \
         log shows",
        count.name, epoch.name
    ));
    let (mut last, mut passed) = (0u64, 0u64);
    let rows = count.column.values.iter().zip(&epoch.column.values);
    let steps = rows.map(|(count, epoch)| {
        if is_step(*epoch) {
            passed = (*epoch as u64).saturating_sub(first);
        }
        if is_step(*count) {
            last = passed.saturating_mul(length).saturating_add(*count as u64);
        }
        last
    });
    steps.collect()
}

/// The steps of a column. A row without one repeats the previous row's.
fn carried(of: &Candidate<'_>, filled: &[&Column], notes: &mut Vec<String>) -> Arc<[u64]> {
    let (mut last, mut odd) = (0u64, 0usize);
    let values = of.column.values.iter().enumerate().map(|(row, value)| {
        if is_step(*value) {
            last = *value as u64;
        } else if filled.iter().any(|column| has(column, row)) {
            odd += 1;
        }
        last
    });
    let steps = values.collect();
    if odd > 0 {
        notes.push(format!(
            "{odd} rows have no step in `{}`: the previous row's step is used",
            of.name
        ));
    }
    steps
}

/// Whether a row has a value in this column.
fn has(column: &Column, row: usize) -> bool {
    column.missing.binary_search(&(row as u64)).is_err()
}

/// Whether rows of one epoch have values in the same column: then a row is less than an epoch.
fn collides(epoch: &Column, filled: &[&Column]) -> bool {
    let rows = epoch.values.len();
    let shares = |row: &usize| {
        epoch.values[*row] == epoch.values[*row - 1]
            && filled
                .iter()
                .any(|column| has(column, *row) && has(column, *row - 1))
    };
    // A run that was resumed may have an epoch twice.
    3 * (1..rows).filter(shares).count() >= rows.max(1)
}

/// Numbers of rows from 0. Neighbours at one position of the data, with values in other columns,
/// are one row.
fn numbered(
    candidates: &[Candidate<'_>],
    filled: &[&Column],
    rows: usize,
    notes: &mut Vec<String>,
) -> Arc<[u64]> {
    let is_part = |value: &f64| value.is_finite() && value.fract() != 0.0;
    notes.push(match candidates.first() {
        Some(position) if position.column.values.iter().any(is_part) => format!(
            "`{}` is a position within the data, no step: rows are numbered from 0",
            position.name
        ),
        Some(position) => format!(
            "`{}` is the same in several rows, no step: rows are numbered from 0",
            position.name
        ),
        None => "no column holds a step: rows are numbered from 0".into(),
    });
    let Some(position) = candidates.first() else {
        return (0..rows as u64).collect();
    };
    let values = &position.column.values;
    // What the rows at the position so far have.
    let mut taken = vec![false; filled.len()];
    let mut number = 0u64;
    let numbers = (0..rows).map(|row| {
        let here = || filled.iter().map(|column| has(column, row));
        let is_same = row > 0
            && values.get(row) == values.get(row - 1)
            && !here().zip(&taken).any(|(here, taken)| here && *taken);
        if row > 0 && !is_same {
            number += 1;
            taken.fill(false);
        }
        for (taken, here) in taken.iter_mut().zip(here()) {
            *taken |= here;
        }
        number
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Column {
        let mut column = Column::default();
        for value in values {
            column.push((!value.is_nan()).then_some(*value));
        }
        column
    }

    fn of(named: &[(&str, &[f64])], filled: &[&[f64]]) -> (Steps, Vec<String>) {
        let columns: Vec<Column> = named.iter().map(|(_, values)| column(values)).collect();
        let mut candidates: Vec<Candidate<'_>> = named
            .iter()
            .zip(&columns)
            .map(|((name, _), column)| Candidate {
                name,
                kind: step_kind(name, false).unwrap().0,
                column,
            })
            .collect();
        candidates.sort_by_key(|candidate| candidate.kind);
        let filled: Vec<Column> = filled.iter().map(|values| column(values)).collect();
        let filled: Vec<&Column> = filled.iter().collect();
        let rows = columns.first().map_or(0, |column| column.values.len());
        let mut notes = Vec::new();
        let steps = steps(&candidates, &filled, rows, &mut notes);
        (steps, notes)
    }

    const GAP: f64 = f64::NAN;

    #[test]
    fn a_fractional_epoch_is_a_position() {
        let (found, notes) = of(
            &[("epoch", &[0.5, 0.5, 1.0, 1.5, 1.5])],
            &[&[1.0, GAP, 1.0, 1.0, 1.0], &[GAP, 1.0, GAP, GAP, GAP]],
        );
        assert_eq!(
            (&*found.steps, found.unit),
            (&[0, 0, 1, 2, 3][..], StepUnit::Row)
        );
        assert!(notes[0].contains("a position within the data"), "{notes:?}");
    }

    #[test]
    fn a_whole_epoch_is_the_unit_unless_its_rows_collide() {
        let losses: &[f64] = &[1.0, GAP, 1.0, GAP];
        let held_out: &[f64] = &[GAP, 1.0, GAP, 1.0];
        let epochs: (&str, &[f64]) = ("epoch", &[0.0, 0.0, 1.0, 1.0]);
        let (found, notes) = of(&[epochs], &[losses, held_out]);
        assert_eq!(
            (&*found.steps, found.unit),
            (&[0, 0, 1, 1][..], StepUnit::Epoch)
        );
        assert_eq!(notes, [] as [&str; 0]);
        let (found, _) = of(&[epochs], &[&[1.0; 4]]);
        assert_eq!(
            (&*found.steps, found.unit),
            (&[0, 1, 2, 3][..], StepUnit::Row)
        );
    }

    #[test]
    fn a_count_that_begins_anew_rises_over_the_epochs() {
        for (name, from, length) in [
            ("iter", 50.0, 150),
            ("batch", 0.0, 150),
            ("step", 50.0, 150),
        ] {
            let counts: Vec<f64> = (0..9).map(|row| from + 50.0 * f64::from(row % 3)).collect();
            let epochs: Vec<f64> = (0..9).map(|row| f64::from(row / 3 + 1)).collect();
            let (found, notes) = of(&[(name, &counts), ("epoch", &epochs)], &[&[1.0; 9]]);
            let expected: Vec<u64> = (0..9).map(|row| from as u64 + 50 * row).collect();
            assert_eq!(
                (&*found.steps, found.unit),
                (&*expected, StepUnit::Step),
                "{name}"
            );
            assert!(notes[0].contains(&format!("{length} steps")), "{notes:?}");
        }
        // A restart goes back without a new epoch.
        let (found, _) = of(
            &[("iter", &[1.0, 2.0, 1.0, 2.0]), ("epoch", &[1.0; 4])],
            &[&[1.0; 4]],
        );
        assert_eq!(&*found.steps, [1, 2, 1, 2]);
    }

    #[test]
    fn what_a_step_counts_is_told_by_its_name() {
        for (name, kind) in [
            ("step", StepKind::Update),
            ("Step", StepKind::Update),
            ("global_step/max_steps", StepKind::Update),
            ("trainer/global_step", StepKind::Update),
            ("train_num_updates", StepKind::Update),
            ("iterations", StepKind::Update),
            ("time/iterations", StepKind::Round),
            ("train/n_updates", StepKind::Round),
            ("time/total_timesteps", StepKind::Environment),
            ("timesteps_total", StepKind::Environment),
            ("_step", StepKind::Call),
            ("batch", StepKind::Batch),
            ("train/epoch", StepKind::Epoch),
        ] {
            assert_eq!(
                step_kind(name, false).map(|found| found.0),
                Some(kind),
                "{name}"
            );
        }
        assert_eq!(
            step_kind("Step", true).map(|found| found.0),
            Some(StepKind::Call)
        );
        for name in ["loss", "steps_per_second", "step_time", "epoch_loss", ""] {
            assert_eq!(step_kind(name, false), None, "{name}");
        }
    }

    #[test]
    fn a_planned_number_of_steps_is_no_step() {
        let planned: (&str, &[f64]) = ("num_steps", &[900.0; 4]);
        let (found, notes) = of(&[planned], &[&[1.0; 4]]);
        assert_eq!(
            (&*found.steps, found.unit),
            (&[0, 1, 2, 3][..], StepUnit::Row)
        );
        assert!(notes[0].contains("the same in several rows"), "{notes:?}");
        let (found, _) = of(&[planned, ("iter", &[1.0, 2.0, 3.0, 4.0])], &[&[1.0; 4]]);
        assert_eq!(&*found.steps, [1, 2, 3, 4]);
        // A step that a restart repeats is one.
        let (found, _) = of(&[("step", &[1.0, 2.0, 2.0, 3.0, 4.0])], &[&[1.0; 5]]);
        assert_eq!(&*found.steps, [1, 2, 2, 3, 4]);
    }

    #[test]
    fn odd_steps_are_told() {
        let odd: &[f64] = &[1.0, GAP, 2.0, -3.0, 1e300, 3.0, 4.0];
        let (found, notes) = of(&[("step", odd)], &[&[1.0, GAP, 1.0, 1.0, 1.0, 1.0, 1.0]]);
        assert_eq!(&*found.steps, [1, 1, 2, 2, 2, 3, 4]);
        assert!(notes[0].starts_with("2 rows have no step"), "{notes:?}");
        assert_eq!(&*of(&[], &[]).0.steps, [] as [u64; 0]);
    }
}
