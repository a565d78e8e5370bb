//! JSON lines: one object a line.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use steadygrad::Trace;

use crate::format::{Format, Head, anywhere, without_mark};
use crate::objects::Objects;
use crate::{Columns, LogError, lenient};

pub(super) const FORMAT: Format = Format {
    name: "JSON lines",
    recognise,
    endings: &["json", "jsonl", "ndjson", "log", "txt"],
    place: anywhere,
    read: |files, columns| read(&files[0], columns).map(|trace| vec![trace]),
};

/// The first line is a whole object. Alone, it must hold no list, which would be a history.
fn recognise(head: &Head<'_>) -> bool {
    let object = head.first_line().filter(|line| line.starts_with(b"{"));
    let object = object.and_then(|line| lenient::parse(line).ok());
    object.is_some_and(|object| {
        let keys = object.as_object();
        let is_row =
            |keys: &serde_json::Map<String, _>| !keys.values().any(serde_json::Value::is_array);
        let is_followed = head
            .second_line()
            .is_some_and(|line| line.starts_with(b"{"));
        keys.is_some_and(|keys| is_followed || is_row(keys))
    })
}

/// Whether a line is an object.
pub(super) fn is_object(line: &[u8]) -> bool {
    matches!(lenient::parse(line), Ok(serde_json::Value::Object(_)))
}

/// Reads one file. Lines that are not objects are left out, and a note counts them.
pub(super) fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
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
            "{odd} lines are not JSON objects, the first is line {line}: they were left out"
        ));
    }
    objects.trace(path, FORMAT.name, columns, notes)
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
        assert!(trace.notes[0].starts_with("2 lines are not JSON objects, the first is line 2"));
    }
}
