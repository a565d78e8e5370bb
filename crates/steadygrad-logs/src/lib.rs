//! Readers of training logs. Whatever a run leaves behind becomes a [`Trace`], which
//! `steadygrad::diagnose` judges.
//!
//! ```text
//! steadygrad's run, TensorBoard, W&B, CSV, JSON lines, JSON, console text --read--> Trace
//!   --diagnose_run--> Finding
//! ```
//!
//! A format is recognised by a file's content, never by its name alone. [`Trace::notes`] names what
//! could not be read: a log that was cut off, or is damaged in places, gives the rest. No number in
//! a file decides how much memory is taken.

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

use std::io::{BufRead, Read as _, Write as _};
use std::path::Path;

use steadygrad::Trace;

use formats::{FORMATS, format_of, is_console, read_console};

/// Reads a log, or all logs in a folder. Each run gives one trace, in the order of their names.
///
/// # Errors
/// [`LogError`] if nothing could be read, or if `columns` names a column that the log lacks.
pub fn read(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    let found = match path.is_dir() {
        true => folder::read(path, columns),
        false => read_file(path, columns).map(|trace| vec![trace]),
    };
    found.map_err(|error| error.with_formats(&FORMATS.map(|format| format.name)))
}

fn read_file(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    formats::read(format_of(path)?, &[path.to_owned()], columns)
}

/// Reads one log from a stream, such as standard input. `name` stands for its path in messages.
///
/// Console text is read as it comes. Any other format is kept in a temporary file first.
///
/// # Errors
/// [`LogError`] if nothing could be read, or if `columns` names a column that the log lacks.
pub fn read_text(
    name: &str,
    mut reader: impl BufRead,
    columns: &Columns,
) -> Result<Trace, LogError> {
    const HEAD: u64 = 1 << 16;
    let name = Path::new(name);
    let mut head = Vec::new();
    let read = reader.by_ref().take(HEAD).read_to_end(&mut head);
    read.map_err(LogError::io(name))?;
    let trace = if is_console(&head) {
        read_console(name, &mut head.as_slice().chain(reader), columns)
    } else {
        spooled(&head, reader, columns).map_err(|error| error.of_stream(name))
    };
    let mut trace =
        trace.map_err(|error| error.with_formats(&FORMATS.map(|format| format.name)))?;
    trace.name = name_of(name);
    Ok(trace)
}

/// Reads a stream through a temporary file.
fn spooled(head: &[u8], mut reader: impl BufRead, columns: &Columns) -> Result<Trace, LogError> {
    let error = || LogError::io(Path::new("the temporary file"));
    let mut file = tempfile::NamedTempFile::new().map_err(error())?;
    file.write_all(head).map_err(error())?;
    std::io::copy(&mut reader, &mut file).map_err(error())?;
    read_file(file.path(), columns)
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
