//! Rows that arrive as JSON objects, collected into columns.

use std::collections::HashMap;
use std::path::Path;

use steadygrad::Trace;

use crate::roles::select;
use crate::table::{self, Column};
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
        self.rows += 1;
    }

    /// Makes the trace of all rows.
    pub(crate) fn trace(
        mut self,
        path: &Path,
        format: &str,
        columns: &Columns,
        mut notes: Vec<String>,
    ) -> Result<Trace, LogError> {
        for column in &mut self.columns {
            column.fill(self.rows);
        }
        let selection = select(path, &self.names, columns)?;
        notes.extend(selection.notes);
        let step = selection
            .step
            .map(|index| (self.names[index].as_str(), &self.columns[index]));
        let steps = table::steps(step, self.rows, &mut notes);
        let roles = selection.roles.into_iter();
        let columns = roles
            .map(|(index, role)| {
                (
                    role,
                    self.names[index].clone(),
                    std::mem::take(&mut self.columns[index]),
                )
            })
            .collect();
        let trace = table::trace(
            name_of(path),
            format,
            &steps,
            columns,
            selection.unmatched,
            notes,
        );
        Ok(trace)
    }
}
