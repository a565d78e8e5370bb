//! The rows of one kind of line.

use std::collections::HashMap;

use crate::column::Column;

/// Columns that say where a row stands. Those of names follow.
pub(super) const STEP: usize = 0;
pub(super) const EPOCH: usize = 1;
pub(super) const POSITION: usize = 2;
pub(super) const TOTAL: usize = 3;
/// The progress bar that was drawn last before the row.
pub(super) const BAR: usize = 4;
pub(super) const BAR_TOTAL: usize = 5;
pub(super) const NAMED: usize = 6;

/// A cell: its column and its value.
pub(super) type Cell = (usize, Option<f64>);

/// All rows that have the same loss and the same kind of step.
#[derive(Default)]
pub(super) struct Rows {
    /// The names of the columns from [`NAMED`] on.
    pub(super) names: Vec<String>,
    places: HashMap<String, usize>,
    pub(super) columns: Vec<Column>,
    /// The line of each row, to put the rows of several tables in order.
    pub(super) lines: Vec<u32>,
    /// The name of the step.
    pub(super) step: Option<String>,
    /// A bar that shows the mean of its epoch so far: its last state is the row of the epoch.
    pub(super) running: bool,
    pub(super) evaluation: bool,
    last: Vec<Cell>,
    last_shape: usize,
}

impl Rows {
    /// The column of a name.
    pub(super) fn column(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = NAMED + self.names.len();
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        place
    }

    pub(super) fn count(&self) -> usize {
        self.lines.len()
    }

    /// The values of a column; a row without a value is NaN in it.
    pub(super) fn values(&self, column: usize) -> Option<&Column> {
        self.columns
            .get(column)
            .filter(|column| !column.values.is_empty())
    }

    /// Adds a row, or what it adds to the last one.
    pub(super) fn push(&mut self, cells: &[Cell], line: u32, shape: usize) {
        if !self.is_last(cells, shape) {
            self.lines.push(line);
            self.last.clear();
        }
        self.last_shape = shape;
        let rows = self.lines.len();
        for (place, value) in cells.iter().copied() {
            if self.columns.len() <= place {
                self.columns.resize(place + 1, Column::default());
            }
            set(&mut self.columns[place], rows, value);
            match self.last.iter_mut().find(|cell| cell.0 == place) {
                Some(cell) => cell.1 = value,
                None => self.last.push((place, value)),
            }
        }
    }

    /// Whether the cells are those of the last row: a bar that is drawn again, or the same row from
    /// a second logger.
    fn is_last(&self, cells: &[Cell], shape: usize) -> bool {
        let of = |cells: &[Cell], place: usize| {
            cells
                .iter()
                .find(|cell| cell.0 == place)
                .and_then(|cell| cell.1)
        };
        if self.lines.is_empty() {
            return false;
        }
        let same = |place: usize| of(cells, place) == of(&self.last, place);
        let both = |place: usize| of(cells, place).is_some() && same(place);
        if self.running {
            return both(EPOCH);
        }
        if both(POSITION) && same(TOTAL) && same(EPOCH) && same(STEP) {
            return true;
        }
        let repeats = both(STEP) && same(EPOCH);
        let second = of(cells, STEP).is_none() && shape != self.last_shape;
        (repeats || second) && self.agrees(cells)
    }

    /// Whether all named cells that both rows have are the same number, as printed.
    fn agrees(&self, cells: &[Cell]) -> bool {
        let mut shared = 0;
        for (place, value) in cells
            .iter()
            .filter(|cell| cell.0 == EPOCH || cell.0 >= NAMED)
        {
            let last = self.last.iter().find(|cell| cell.0 == *place);
            match (value, last.and_then(|cell| cell.1)) {
                (Some(a), Some(b)) if is_close(*a, b) => shared += 1,
                (Some(_), Some(_)) => return false,
                _ => {}
            }
        }
        shared >= 2 || shared == 1 && cells.len() == 2
    }
}

/// Whether two loggers may have printed the same number, one with four digits.
fn is_close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 5e-5 + 1e-3 * a.abs().min(b.abs())
}

/// Sets the value of the last of `rows` rows.
fn set(column: &mut Column, rows: usize, value: Option<f64>) {
    if column.values.len() < rows {
        column.fill(rows - 1);
        column.push(value);
    } else if let (Some(value), Some(last)) = (value, column.values.last_mut()) {
        *last = value;
        if column.missing.last() == Some(&(rows as u64 - 1)) {
            column.missing.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redraw_counts_once_and_its_last_value_counts() {
        let mut rows = Rows::default();
        let loss = rows.column("loss");
        for (position, value) in [(1.0, 5.0), (1.0, 4.0), (2.0, 3.0)] {
            rows.push(&[(POSITION, Some(position)), (loss, Some(value))], 0, 0);
        }
        assert_eq!(rows.columns[loss].values, [4.0, 3.0]);
    }

    #[test]
    fn a_second_logger_adds_what_the_first_lacks() {
        let mut rows = Rows::default();
        let (loss, norm) = (rows.column("loss"), rows.column("norm"));
        for row in 0..3 {
            let (value, epoch) = (1.23456 + f64::from(row), f64::from(row) / 10.0);
            let short = (value * 1e4).round() / 1e4;
            rows.push(&[(EPOCH, Some(epoch)), (loss, Some(short))], 0, 0);
            let cells = [(EPOCH, Some(epoch)), (loss, Some(value)), (norm, Some(1.0))];
            rows.push(&cells, 0, 1);
        }
        assert_eq!(rows.count(), 3);
        assert_eq!(rows.columns[loss].values[0], 1.23456);
        assert!(rows.columns[norm].missing.is_empty());
    }
}
