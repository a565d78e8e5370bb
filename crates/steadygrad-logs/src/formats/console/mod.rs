//! Console text: what a trainer prints.
//!
//! A line becomes a skeleton: its text with a mark for each number (`skeleton`). Each skeleton is
//! understood once (`fields`, `names`, `shape`). Lines with one loss and one kind of step are a
//! table (`reader`, `rows`). The longest table with a loss is the training; evaluations and skipped
//! updates are put beside it (`steps`, `trace`).

mod fields;
mod lines;
mod names;
mod reader;
mod rows;
mod shape;
mod skeleton;
mod steps;
mod trace;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use steadygrad::Trace;

use crate::format::{Format, Head, anywhere};
use crate::{Columns, LogError};

pub(super) const FORMAT: Format = Format {
    name: "console text",
    recognise,
    endings: &["log", "txt", "out", "err"],
    place: anywhere,
    read: |files, columns| read_file(&files[0], columns).map(|trace| vec![trace]),
};

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// Any text. The whole of it decides whether it is a log.
fn recognise(head: &Head<'_>) -> bool {
    head.first_line().is_some()
}

/// Reads one file.
pub(super) fn read_file(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let file = File::open(path).map_err(LogError::io(path))?;
    read(path, &mut BufReader::with_capacity(BUFFER, file), columns)
}

/// Reads a stream, which messages call `path`.
pub(super) fn read(
    path: &Path,
    reader: &mut impl BufRead,
    columns: &Columns,
) -> Result<Trace, LogError> {
    let read = reader::Reader::read(reader, columns).map_err(LogError::io(path))?;
    trace::of(path, FORMAT.name, read, columns)
}

/// Whether a line has a number with a name in front of it, as no header of a table has.
pub(super) fn has_named_number(line: &[u8]) -> bool {
    let mut skeleton = skeleton::Skeleton::default();
    skeleton.write(line);
    let mut fields = fields::parse(&skeleton.text).into_iter();
    fields.any(|field| field.kind == fields::Kind::Named)
}
