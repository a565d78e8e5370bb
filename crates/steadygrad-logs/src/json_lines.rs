//! One JSON object a line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use steadygrad::Trace;

use crate::format::without_mark;
use crate::roles::select;
use crate::table::{self, Column};
use crate::{Columns, LogError, lenient, name_of};

/// Reads one file. A line that is no object is left out and told.
pub(crate) fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let mut reader = BufReader::new(File::open(path).map_err(LogError::io(path))?);
    let (mut objects, mut line, mut number) = (Objects::default(), Vec::new(), 0usize);
    let (mut odd, mut first_odd) = (0usize, None);
    loop {
        line.clear();
        let read = reader
            .read_until(b'\n', &mut line)
            .map_err(LogError::io(path))?;
        if read == 0 {
            break;
        }
        number += 1;
        let text = without_mark(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        match lenient::parse(text) {
            Ok(serde_json::Value::Object(object)) => objects.push(&object),
            _ => {
                odd += 1;
                first_odd.get_or_insert(number);
            }
        }
    }
    let mut notes = Vec::new();
    if let Some(line) = first_odd {
        notes.push(format!(
            "{odd} lines are no JSON object, the first is line {line}: they were left out"
        ));
    }
    objects.trace(path, "JSON lines", columns, notes)
}

/// Columns of numbers, of objects that need not have the same keys.
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
            // A key twice in one object, `a/b` and `b` in `a`: the first counts.
            if column.values.len() == self.rows {
                column.push(value);
            }
        }
        self.rows += 1;
    }

    /// The trace of all rows.
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

#[cfg(test)]
mod tests {
    use steadygrad::trace::Role;

    use super::*;

    #[test]
    fn keys_may_come_and_go_and_bad_lines_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let text = "{\"step\": 0, \"train\": {\"loss\": 2.5}}\nnot json\n{\"step\": 1, \"val_loss\": 2}\n\n\
                    {\"step\": 2, \"train\": {\"loss\": NaN}, \"grad_norm\": \"inf\"}\n{\"step\": 3, \"tr";
        std::fs::write(&path, text).unwrap();
        let trace = read(&path, &Columns::default()).unwrap();
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(
            (loss.column(), &**loss.steps()),
            ("train/loss", &[0, 2][..])
        );
        assert!(loss.values()[0] == 2.5 && loss.values()[1].is_nan());
        let norm = trace.series(&Role::GradNorm).unwrap();
        assert_eq!(
            (&**norm.steps(), norm.values()),
            (&[2][..], &[f64::INFINITY][..])
        );
        assert!(trace.notes[0].starts_with("2 lines are no JSON object, the first is line 2"));
    }
}
