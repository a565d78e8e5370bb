//! Rows that arrive as JSON objects, collected into columns.

use std::collections::HashMap;
use std::path::Path;

use steadygrad::Trace;

use crate::names::{is_held_out_split, is_split};
use crate::roles::select;
use crate::table::{Column, Table};
use crate::{Columns, LogError, lenient, name_of};

/// Columns of numbers from objects whose keys may differ.
#[derive(Default)]
pub(crate) struct Objects {
    places: HashMap<String, usize>,
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

impl Objects {
    /// Adds a row.
    pub(crate) fn push(&mut self, object: &serde_json::Map<String, serde_json::Value>) {
        for (name, value) in lenient::numbers(object) {
            self.set(name, value);
        }
        // Of texts, only the one that tells training from held-out data is read.
        for (name, value) in object {
            let held_out = value.as_str().filter(|_| is_split(name));
            if let Some(held_out) = held_out.and_then(is_held_out_split) {
                self.set(name.clone(), Some(f64::from(u8::from(held_out))));
            }
        }
        self.rows += 1;
    }

    /// Sets a value of the current row.
    fn set(&mut self, name: String, value: Option<f64>) {
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None => {
                self.places.insert(name.clone(), self.columns.len());
                self.names.push(name);
                self.columns.push(Column::default());
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[place];
        column.fill(self.rows);
        // `a/b` and `b` within `a` are one key. The first value counts.
        if column.values.len() == self.rows {
            column.push(value);
        }
    }

    /// Makes the trace of all rows.
    pub(crate) fn trace(
        mut self,
        path: &Path,
        format: &str,
        columns: &Columns,
        notes: Vec<String>,
    ) -> Result<Trace, LogError> {
        let selection = select(path, &self.names, columns)?;
        let wanted: Vec<Column> = selection
            .wanted()
            .map(|index| std::mem::take(&mut self.columns[index]))
            .collect();
        let name = name_of(path);
        let mut table = Table::new(name, format, &self.names, selection, wanted, self.rows);
        table.notes.splice(0..0, notes);
        Ok(table.trace())
    }
}
