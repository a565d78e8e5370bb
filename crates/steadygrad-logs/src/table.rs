//! A log of rows, each with its step.

use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::trace::{Objective, Role, Series};

use crate::cadence::Counted;
pub(crate) use crate::column::{Column, number};
use crate::finish::Run;
use crate::roles::Selection;
use crate::steps::{Candidate, StepKind, Steps, steps};

/// The columns of a log that are read.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) format: String,
    rows: usize,
    steps: Vec<(String, StepKind, Column)>,
    /// 1 for a row about held-out data, 0 for a row about the training.
    split: Option<Column>,
    pub(crate) values: Vec<(Role, String, Column)>,
    objective: Objective,
    unmatched: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// Makes a table of the columns that `selection` wants, in its order.
    pub(crate) fn new(
        name: String,
        format: &str,
        names: &[String],
        selection: Selection,
        columns: Vec<Column>,
        rows: usize,
    ) -> Self {
        let mut columns = columns.into_iter().map(|mut column| {
            column.fill(rows);
            column
        });
        let name_at = |index: usize| names.get(index).cloned().unwrap_or_default();
        let steps = selection.steps.into_iter().zip(columns.by_ref());
        let steps = steps.map(|((index, kind), column)| (name_at(index), kind, column));
        let steps = steps.collect();
        let split = selection.split.and_then(|_| columns.next());
        let values = selection.roles.into_iter().zip(columns);
        let values = values.map(|((index, role), column)| (role, name_at(index), column));
        Self {
            name,
            format: format.into(),
            rows,
            steps,
            split,
            values: values.collect(),
            objective: selection.objective,
            unmatched: selection.unmatched,
            notes: selection.notes,
        }
    }

    /// Makes the trace.
    pub(crate) fn trace(mut self) -> Trace {
        self.set_held_out_apart();
        let candidates: Vec<Candidate<'_>> = self
            .steps
            .iter()
            .map(|(name, kind, column)| Candidate {
                name,
                kind: *kind,
                column,
            })
            .collect();
        let filled: Vec<&Column> = self.values.iter().map(|(.., column)| column).collect();
        let found = steps(&candidates, &filled, self.rows, &mut self.notes);
        let Steps { steps, used, .. } = found;
        let unused = self.steps.iter().map(|(name, ..)| name);
        self.unmatched
            .extend(unused.filter(|name| !used.contains(name)).cloned());
        let series = self.values.into_iter();
        Run {
            name: self.name,
            format: self.format,
            series: series
                .filter_map(|(role, name, column)| series_of(role, name, column, &steps))
                .collect(),
            unmatched: self.unmatched,
            notes: self.notes,
            objective: self.objective,
            counted: Counted {
                unit: found.unit,
                counts_updates: found.counts_updates,
                is_by_epoch: found.is_by_epoch,
            },
        }
        .trace()
    }

    /// Takes the rows about held-out data out of the training's columns. Their loss becomes the
    /// held-out loss.
    fn set_held_out_apart(&mut self) {
        let Some(split) = self.split.take() else {
            return;
        };
        let is_held_out = |row: usize| split.values.get(row) == Some(&1.0);
        if !(0..self.rows).any(is_held_out) {
            return;
        }
        let keep = |column: &Column, wanted: bool| {
            let mut kept = Column::default();
            let mut missing = column.missing.iter().copied().peekable();
            for (row, value) in column.values.iter().enumerate() {
                let is_missing = missing.next_if_eq(&(row as u64)).is_some();
                let is_kept = !is_missing && is_held_out(row) == wanted;
                kept.push(is_kept.then_some(*value));
            }
            kept
        };
        let has_held_out = |(role, ..): &(Role, String, Column)| *role == Role::ValidationLoss;
        let mut held_out = None;
        if !self.values.iter().any(has_held_out) {
            let loss = self.values.iter().find(|(role, ..)| *role == Role::Loss);
            held_out = loss
                .map(|(_, name, column)| (Role::ValidationLoss, name.clone(), keep(column, true)));
        }
        for (role, _, column) in &mut self.values {
            if *role != Role::ValidationLoss {
                *column = keep(column, false);
            }
        }
        self.values.extend(held_out);
        // Such a row counts the batches of the held-out data.
        let has_epoch = self
            .steps
            .iter()
            .any(|(_, kind, _)| *kind == StepKind::Epoch);
        for (_, kind, column) in &mut self.steps {
            if has_epoch && matches!(kind, StepKind::Update | StepKind::Batch) {
                *column = keep(column, false);
            }
        }
    }
}

/// The series of a column, without the rows that have no value. `None` if no row has one.
pub(crate) fn series_of(
    role: Role,
    name: String,
    mut column: Column,
    steps: &Arc<[u64]>,
) -> Option<Series> {
    if column.missing.is_empty() {
        let some = !column.values.is_empty();
        return some.then(|| Series::new(role, name, steps.clone(), column.values).ok())?;
    }
    let mut missing = column.missing.iter().copied().peekable();
    let mut own = Vec::new();
    let mut row = 0u64;
    column.values.retain(|_| {
        let there = missing.next_if_eq(&row).is_none();
        if there {
            own.extend(steps.get(row as usize));
        }
        row += 1;
        there
    });
    let some = !own.is_empty();
    some.then(|| Series::new(role, name, own.into(), column.values).ok())?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use steadygrad::trace::{Cadence, StepUnit};

    use super::*;
    use crate::Columns;
    use crate::roles::select;

    fn of(names: &[&str], rows: &[&[Option<f64>]]) -> Trace {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = select(Path::new("log"), &names, &Columns::default()).unwrap();
        let columns = selection.wanted().map(|index| {
            let mut column = Column::default();
            for row in rows {
                column.push(row[index]);
            }
            column
        });
        let columns = columns.collect();
        Table::new("n".into(), "f", &names, selection, columns, rows.len()).trace()
    }

    #[test]
    fn rows_without_a_value_are_left_out_with_their_steps() {
        let trace = of(
            &["step", "loss"],
            &[
                &[Some(10.0), Some(1.0)],
                &[Some(20.0), None],
                &[Some(30.0), Some(f64::NAN)],
                &[Some(40.0), Some(4.0)],
                &[Some(50.0), None],
            ],
        );
        let series = trace.series(&Role::Loss).unwrap();
        assert_eq!(&**series.steps(), [10, 30, 40]);
        assert!(series.values()[1].is_nan() && series.values()[2] == 4.0);
        assert_eq!(trace.unit, StepUnit::Step);
    }

    #[test]
    fn rows_about_held_out_data_are_no_training() {
        let rows: Vec<Vec<Option<f64>>> = (0..12)
            .map(|row| {
                let held_out = row % 4 == 3;
                let count = if held_out { 9 } else { 50 * (row % 4 + 1) };
                [
                    f64::from(held_out),
                    f64::from(row / 4),
                    f64::from(count),
                    f64::from(row),
                ]
                .map(Some)
                .to_vec()
            })
            .collect();
        let rows: Vec<&[Option<f64>]> = rows.iter().map(Vec::as_slice).collect();
        let trace = of(&["mode", "epoch", "iter", "loss"], &rows);
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(
            &**loss.steps(),
            [50, 100, 150, 200, 250, 300, 350, 400, 450]
        );
        assert_eq!(loss.values()[3], 4.0);
        let held_out = trace.series(&Role::ValidationLoss).unwrap();
        assert_eq!(held_out.values(), [3.0, 7.0, 11.0]);
        assert_eq!(trace.cadence, Cadence::Steps(50));
        assert!(
            !trace.notes.iter().any(|note| note.contains("restart")),
            "{:?}",
            trace.notes
        );
    }
}
