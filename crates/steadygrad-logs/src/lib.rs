//! Readers of training logs: whatever a run left behind becomes a [`Trace`], which
//! `steadygrad::diagnose` looks at.
//!
//! ```text
//! steadygrad's run, TensorBoard, W&B, CSV, JSON lines, JSON --read--> Trace --diagnose_run--> Finding
//! ```
//!
//! A format is recognised by what is in a file, never by its name alone. What cannot be read is left
//! out and named in [`Trace::notes`]: a log that was cut off, or has a damaged place, gives what is
//! left of it. No memory is taken by a number in a file.

mod blanks;
mod columns;
mod error;
mod folder;
mod format;
mod formats;
mod lenient;
mod objects;
mod odd;
mod roles;
mod table;

pub use columns::Columns;
pub use error::LogError;

use std::path::Path;

use steadygrad::Trace;

use formats::{FORMATS, format_of};

/// Reads a log, or all logs in a folder: one trace a run, in the order of their names.
///
/// # Errors
/// [`LogError`] when there is nothing that could be read, or `columns` names a column that the log
/// has not.
pub fn read(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    let found = match path.is_dir() {
        true => folder::read(path, columns),
        false => read_file(path, columns).map(|trace| vec![trace]),
    };
    found.map_err(|error| error.with_formats(&FORMATS.map(|format| format.name)))
}

fn read_file(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    (format_of(path)?.read)(&[path.to_owned()], columns)
}

/// A run's name: the file's without its ending, or the folder's.
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
