//! JSON documents: Hugging Face's `trainer_state.json`, arrays of rows, columns by name.

use std::path::Path;

use serde_json::{Map, Value};
use steadygrad::Trace;

use crate::error::CUT_OFF;
use crate::format::{Format, Head, Place, without_mark};
use crate::objects::Objects;
use crate::{Columns, LogError, lenient, name_of};

use super::json_lines;

pub(super) const FORMAT: Format = Format {
    name: "JSON",
    recognise,
    endings: &["json", "jsonl", "ndjson", "log", "txt"],
    place,
    read: |files, columns| read(&files[0], columns).map(|trace| vec![trace]),
};

/// The file in which Hugging Face's trainer keeps its history.
const TRAINER_STATE: &str = "trainer_state.json";

/// How the names of the folders begin in which that trainer saves its states; the step follows.
const CHECKPOINT: &str = "checkpoint-";

/// The keys under which a document keeps its rows.
const HISTORIES: [&str; 4] = ["log_history", "history", "logs", "metrics"];

/// An array, or an object that spans several lines or holds a history. An object that is one row in
/// one line belongs to JSON lines, which is asked first.
fn recognise(head: &Head<'_>) -> bool {
    let Some(first) = head.first_line() else {
        return false;
    };
    // A line of text may begin with a time in brackets: `[2024-01-01`.
    let mut rest = first.trim_ascii_start().iter();
    let open = rest.next();
    let next = rest.find(|byte| !byte.is_ascii_whitespace());
    match open {
        Some(b'{') => matches!(next, None | Some(b'"' | b'}')),
        Some(b'[') => matches!(next, None | Some(b'{' | b'[' | b']' | b'"')),
        _ => false,
    }
}

/// A trainer's state belongs to the folder of its run. The state in that folder itself is the last.
fn place(path: &Path) -> Place {
    if path.file_name().is_none_or(|name| name != TRAINER_STATE) {
        return Place::Unknown;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    match (checkpoint_step(folder), folder.parent()) {
        (Some(step), Some(run)) => Place::State(run.to_owned(), step),
        _ => Place::State(folder.to_owned(), u64::MAX),
    }
}

/// The step at which a trainer saved this folder, `checkpoint-500`.
fn checkpoint_step(folder: &Path) -> Option<u64> {
    let name = folder.file_name()?.to_string_lossy();
    name.strip_prefix(CHECKPOINT)?.parse().ok()
}

/// Reads one document.
fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let text = std::fs::read(path).map_err(LogError::io(path))?;
    let unrecognised = |found: String| LogError::unrecognised(path, found);
    let mut value = match lenient::parse(without_mark(&text)) {
        Ok(value) => value,
        // A row may be too long for the beginning of the file to show its end.
        Err(_) if json_lines::is_object(first_line(&text)) => {
            return json_lines::read(path, columns);
        }
        Err(error) => {
            let how = if error.is_eof() {
                CUT_OFF
            } else {
                "it begins as JSON, and is damaged"
            };
            return Err(unrecognised(format!("{how} at line {}", error.line())));
        }
    };
    let trainer = value.get("log_history").is_some();
    let history = value.get_mut("log_history").and_then(Value::as_array_mut);
    for row in history.into_iter().flatten() {
        restore_filtered_loss(row);
    }
    let objects = objects(&value).ok_or_else(|| {
        unrecognised(
            "it is JSON without a list of rows (`log_history`, or an array of objects)".into(),
        )
    })?;
    let format = if trainer {
        "Hugging Face trainer state"
    } else {
        FORMAT.name
    };
    let mut trace = objects.trace(path, format, columns, Vec::new())?;
    // Every such file has the same name. Its folder names the run.
    if let Some(folder) = path.parent().filter(|_| trainer) {
        let checkpoint = |folder: &&Path| {
            folder
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(CHECKPOINT))
        };
        let folder = Some(folder)
            .filter(checkpoint)
            .and_then(Path::parent)
            .unwrap_or(folder);
        if folder.file_name().is_some() {
            trace.name = name_of(folder);
        }
    }
    Ok(trace)
}

fn first_line(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    without_mark(&text[..end])
}

/// Writes NaN where the trainer filtered it.
///
/// By default (`logging_nan_inf_filter`) the trainer leaves non-finite losses out of the mean that
/// it logs. Where no loss is finite the mean is 0. A true loss is never exactly 0 beside a
/// non-finite gradient.
fn restore_filtered_loss(row: &mut Value) {
    let number = |name: &str| lenient::number(row.get(name)?);
    let is_filtered =
        number("loss") == Some(0.0) && number("grad_norm").is_some_and(|norm| !norm.is_finite());
    if is_filtered {
        row["loss"] = "NaN".into();
    }
}

/// The rows of a document: an array of objects, an array under a known key, or arrays by name.
fn objects(value: &Value) -> Option<Objects> {
    match value {
        Value::Array(rows) => of_rows(rows),
        Value::Object(document) => HISTORIES
            .iter()
            .find_map(|name| objects(document.get(*name)?))
            .or_else(|| of_columns(document)),
        _ => None,
    }
}

fn of_rows(rows: &[Value]) -> Option<Objects> {
    let mut objects = Objects::default();
    let all = rows.iter().filter_map(Value::as_object);
    for row in all.clone() {
        objects.push(row);
    }
    all.count().gt(&0).then_some(objects)
}

/// `{"loss": [..], "val_loss": [..]}`, as Keras keeps it.
fn of_columns(document: &Map<String, Value>) -> Option<Objects> {
    let columns: Vec<(&String, &Vec<Value>)> = document
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_array()?)))
        .filter(|(_, values)| values.iter().any(|value| lenient::number(value).is_some()))
        .collect();
    let rows = columns.iter().map(|(_, values)| values.len()).max()?;
    let mut objects = Objects::default();
    for row in 0..rows {
        let cells = columns
            .iter()
            .filter_map(|(name, values)| Some(((*name).clone(), values.get(row)?.clone())));
        objects.push(&cells.collect());
    }
    Some(objects)
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::Role;

    use super::*;

    fn of(text: &str) -> Result<Trace, LogError> {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("my-run/checkpoint-20");
        std::fs::create_dir_all(&run).unwrap();
        let path = run.join("trainer_state.json");
        std::fs::write(&path, text).unwrap();
        read(&path, &Columns::default())
    }

    #[test]
    fn a_trainer_s_state() {
        let trace = of(r#"{"global_step": 20, "log_history": [
            {"epoch": 0.5, "grad_norm": 1.5, "learning_rate": 5e-05, "loss": 2.5, "step": 10},
            {"epoch": 1.0, "eval_loss": 2.25, "eval_runtime": 1.0, "step": 10},
            {"epoch": 1.0, "grad_norm": NaN, "learning_rate": 4e-05, "loss": 0.0, "step": 20}]}"#)
        .unwrap();
        assert_eq!(
            (trace.name.as_str(), trace.format.as_str()),
            ("my-run", "Hugging Face trainer state")
        );
        let norm = trace.series(&Role::GradNorm).unwrap();
        assert!(**norm.steps() == [10, 20] && norm.values()[0] == 1.5 && norm.values()[1].is_nan());
        // The trainer's filter turned that loss into 0.
        let loss = trace.series(&Role::Loss).unwrap().values();
        assert!(loss[0] == 2.5 && loss[1].is_nan(), "{loss:?}");
        assert_eq!(
            trace.series(&Role::ValidationLoss).unwrap().values(),
            [2.25]
        );
        assert_eq!(
            trace.series(&Role::LearningRate).unwrap().values(),
            [5e-5, 4e-5]
        );
    }

    fn losses(text: &str) -> Vec<f64> {
        let trace = of(text).unwrap();
        trace.series(&Role::Loss).unwrap().values().to_vec()
    }

    #[test]
    fn only_a_trainer_s_loss_of_zero_beside_a_nan_is_one_that_was_filtered() {
        let rows = r#"[{"step": 1, "loss": 0.0, "grad_norm": Infinity}, {"step": 2, "loss": 0.0, "grad_norm": 0.5},
            {"step": 3, "loss": 1.5, "grad_norm": NaN}, {"step": 4, "loss": 0.0}]"#;
        let read = losses(&format!("{{\"log_history\": {rows}}}"));
        assert!(read[0].is_nan() && read[1..] == [0.0, 1.5, 0.0], "{read:?}");
        assert_eq!(losses(rows), [0.0, 0.0, 1.5, 0.0]);
    }

    #[test]
    fn rows_and_columns() {
        assert_eq!(
            losses(r#"[{"_step": 0, "loss": 1}, 7, {"_step": 1, "loss": 2}]"#),
            [1.0, 2.0]
        );
        assert_eq!(
            losses(r#"{"loss": [3, 2, 1], "acc": [0.1, 0.2]}"#),
            [3.0, 2.0, 1.0]
        );
        assert_eq!(losses(r#"{"history": {"loss": [3, null]}}"#), [3.0]);
    }

    #[test]
    fn what_holds_no_rows_is_told() {
        for text in [
            "{\"a\": 1}",
            "[]",
            "[1, 2]",
            "{\"log_history\": [",
            "{\"log_history\": []}",
            "{\"x\": [\"y\"]}",
        ] {
            assert!(
                matches!(of(text), Err(LogError::Unrecognised { .. })),
                "{text}"
            );
        }
    }
}
