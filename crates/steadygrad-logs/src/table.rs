//! Columns that are filled row by row.

use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::trace::{Role, Series};

use crate::odd;

/// One column: a value for every row, and the rows without one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    /// NaN for a row without a value.
    pub(crate) values: Vec<f64>,
    /// Rows without a value, in order.
    pub(crate) missing: Vec<u64>,
}

impl Column {
    /// Adds the next row.
    pub(crate) fn push(&mut self, value: Option<f64>) {
        if value.is_none() {
            self.missing.push(self.values.len() as u64);
        }
        self.values.push(value.unwrap_or(f64::NAN));
    }

    /// Adds rows without a value until there are `rows` rows.
    pub(crate) fn fill(&mut self, rows: usize) {
        while self.values.len() < rows {
            self.push(None);
        }
    }

    /// Adds another's rows.
    pub(crate) fn append(&mut self, other: Column) {
        let before = self.values.len() as u64;
        self.missing
            .extend(other.missing.iter().map(|row| row + before));
        self.values.extend(other.values);
    }
}

/// The steps in a column. A row without a usable step repeats the previous one. Without a column
/// the rows are numbered from 0.
pub(crate) fn steps(
    column: Option<(&str, &Column)>,
    rows: usize,
    notes: &mut Vec<String>,
) -> Arc<[u64]> {
    let Some((name, column)) = column else {
        notes.push("no column holds a step: rows are numbered from 0".into());
        return (0..rows as u64).collect();
    };
    let (mut last, mut odd) = (0u64, 0usize);
    let mut fractions = false;
    let values = column.values.iter().map(|value| {
        // f64 has every whole number up to 2^53.
        if *value >= 0.0 && *value <= 9e15 {
            fractions |= value.fract() != 0.0;
            last = *value as u64;
        } else {
            odd += 1;
        }
        last
    });
    let steps: Arc<[u64]> = values.collect();
    if odd > 0 {
        notes.push(format!(
            "{odd} rows have no step in `{name}`: the previous row's step is used"
        ));
    }
    if fractions {
        notes.push(format!("`{name}` has fractions: steps are rounded down"));
    }
    steps
}

/// The trace of columns that share the steps of their rows.
pub(crate) fn trace(
    name: String,
    format: &str,
    steps: &Arc<[u64]>,
    columns: Vec<(Role, String, Column)>,
    unmatched: Vec<String>,
    mut notes: Vec<String>,
) -> Trace {
    let mut series = Vec::new();
    for (role, column, mut data) in columns {
        let (steps, values) = if data.missing.is_empty() {
            (steps.clone(), data.values)
        } else {
            let mut missing = data.missing.iter().copied().peekable();
            let mut own = Vec::new();
            let mut row = 0u64;
            data.values.retain(|_| {
                let there = missing.next_if_eq(&row).is_none();
                if there {
                    own.extend(steps.get(row as usize));
                }
                row += 1;
                there
            });
            (own.into(), data.values)
        };
        if !values.is_empty() {
            series.extend(Series::new(role, column, steps, values));
        }
    }
    notes.extend(odd::notes(&series));
    Trace {
        name,
        format: format.into(),
        series,
        unmatched,
        notes,
        ..Trace::default()
    }
}

/// A number as logs write it: `Ok(None)` for an empty cell, `Err` for text.
pub(crate) fn number(text: &[u8]) -> Result<Option<f64>, ()> {
    let text = text.trim_ascii();
    match text {
        b"" | b"null" | b"None" | b"none" | b"N/A" | b"NA" | b"-" => return Ok(None),
        _ => {}
    }
    let text = std::str::from_utf8(text).map_err(|_| ())?;
    // Rust reads `nan`, `inf` and `infinity` in any case and with a sign.
    text.parse().map(Some).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_logs_write_them() {
        for (text, expected) in [
            ("1", 1.0),
            (" -2.5e-3 ", -2.5e-3),
            ("1e400", f64::INFINITY),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(number(text.as_bytes()), Ok(Some(expected)), "{text}");
        }
        for text in ["nan", "NaN", "-nan", "NAN"] {
            assert!(number(text.as_bytes()).unwrap().unwrap().is_nan(), "{text}");
        }
        for text in ["", "  ", "null", "None", "N/A"] {
            assert_eq!(number(text.as_bytes()), Ok(None), "{text}");
        }
        for text in ["abc", "1,5", "tensor(1.0)", "\u{e9}"] {
            assert_eq!(number(text.as_bytes()), Err(()), "{text}");
        }
    }

    #[test]
    fn rows_without_a_value_are_left_out_with_their_steps() {
        let mut column = Column::default();
        for value in [Some(1.0), None, Some(f64::NAN), Some(4.0), None] {
            column.push(value);
        }
        let steps: Arc<[u64]> = [10, 20, 30, 40, 50].into();
        let trace = trace(
            "n".into(),
            "f",
            &steps,
            vec![(Role::Loss, "loss".into(), column)],
            vec![],
            vec![],
        );
        let series = trace.series(&Role::Loss).unwrap();
        assert_eq!(&**series.steps(), [10, 30, 40]);
        assert!(series.values()[1].is_nan() && series.values()[2] == 4.0);
    }

    #[test]
    fn odd_steps_are_told() {
        let column = Column {
            values: vec![1.0, f64::NAN, 2.5, -3.0, 1e300],
            missing: vec![],
        };
        let mut notes = Vec::new();
        assert_eq!(
            &*steps(Some(("step", &column)), 5, &mut notes),
            [1, 1, 2, 2, 2]
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(&*steps(None, 3, &mut notes), [0, 1, 2]);
        assert_eq!(notes.len(), 3);
    }
}
