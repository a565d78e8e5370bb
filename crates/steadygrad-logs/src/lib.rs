//! Readers of training logs. Whatever a run leaves behind becomes a [`Trace`], which
//! `steadygrad::diagnose` judges.
//!
//! ```text
//! a log --read--> Trace --diagnose_run--> Finding
//! ```
//!
//! | format | what is read |
//! |---|---|
//! | steadygrad's own run | the folder with `steps.arrow` |
//! | TensorBoard | event files, scalars of both encodings; `train/` and `validation/` are one run |
//! | W&B | `run-*.wandb`, and exports as CSV |
//! | MLflow | the folder of a run in `mlruns`, or `mlflow.db` |
//! | Trackio | `PROJECT.db` |
//! | burn-train | the experiment's folder, with `train/epoch-1/Loss.log` |
//! | JSON lines | one object a line: RLlib's `result.json`, mmdetection, detectron2, LLaMA-Factory |
//! | JSON | `trainer_state.json`, arrays of rows, columns by name such as Keras's history |
//! | console text | what any trainer prints: `loss: 2.3`, `loss=2.3`, dictionaries, tables, bars |
//! | CSV | Lightning, Keras, Stable-Baselines3's `progress.csv`, YOLO's `results.csv` |
//!
//! A trace says what a row is ([`Cadence`](steadygrad::trace::Cadence)), what its steps count
//! ([`StepUnit`](steadygrad::trace::StepUnit)), and what kind of training it is of
//! ([`Objective`](steadygrad::trace::Objective)), all by names and strides.
//!
//! A format is recognised by a file's content, never by its name alone. [`Trace::notes`] names what
//! could not be read: a log that was cut off, or is damaged in places, gives the rest. No number in
//! a file decides how much memory is taken.

mod blanks;
mod cadence;
mod column;
mod columns;
mod error;
mod finish;
mod folder;
mod format;
mod formats;
mod joined;
#[cfg(test)]
mod laws;
mod lenient;
mod names;
mod objective;
mod objects;
mod odd;
mod own_steps;
mod parts;
mod roles;
mod spellings;
mod steps;
mod table;

pub use columns::Columns;
pub use error::LogError;

use std::path::Path;

use steadygrad::Trace;

use formats::{FORMATS, format_of};

/// Reads a log, or all logs in a folder. Each run gives one trace, in the order of their names.
///
/// # Errors
/// [`LogError`] if nothing could be read, or if `columns` names a column that the log lacks.
pub fn read(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    let found = match path.is_dir() {
        true => folder::read(path, columns),
        false => read_file(path, columns),
    };
    found.map_err(|error| error.with_formats(&FORMATS.map(|format| format.name)))
}

fn read_file(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    formats::read(format_of(path)?, &[path.to_owned()], columns)
}

/// A run's name: its folder's, or its file's without the ending.
fn name_of(path: &Path) -> String {
    let name = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    name.unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
