//! What a format of logs is: how a file of it is recognised, found in a folder, and read.

use std::path::{Path, PathBuf};

use steadygrad::Trace;

use crate::roles::is_essential;
use crate::{Columns, LogError};

/// One format. Each stands in its own file under `formats/`.
pub(crate) struct Format {
    /// What people call it; messages list the names.
    pub(crate) name: &'static str,
    /// Whether a file with this beginning is of the format.
    pub(crate) recognise: fn(&Head<'_>) -> bool,
    /// File name endings under which a folder is searched for it, in lower case.
    pub(crate) endings: &'static [&'static str],
    /// What a path in a folder is to this format, judged by its name alone.
    pub(crate) place: fn(&Path) -> Place,
    /// Reads the files of one run, of which there is at least one. A database may hold several runs.
    pub(crate) read: fn(&[PathBuf], &Columns) -> Result<Vec<Trace>, LogError>,
}

impl Format {
    /// Reads the files of one run, of which there is at least one.
    ///
    /// # Errors
    /// Those of [`Format::read`], and [`LogError::NoRows`] if no run has a number for a rule.
    pub(crate) fn traces(
        &self,
        files: &[PathBuf],
        columns: &Columns,
    ) -> Result<Vec<Trace>, LogError> {
        let mut traces = (self.read)(files, columns)?;
        let has_rows = |trace: &Trace| trace.series.iter().any(|one| is_essential(one.role()));
        traces.retain(has_rows);
        match (traces.is_empty(), files.first()) {
            (true, Some(path)) => Err(LogError::NoRows { path: path.clone() }),
            _ => Ok(traces),
        }
    }
}

/// What a path in a folder of logs is to a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing that its name would tell. The ending and the content decide.
    Unknown,
    /// A folder that is one run as a whole. Nothing else is looked for in it.
    Run,
    /// One of the files of this run, if its content agrees; all files of a run are read together.
    Part(PathBuf),
    /// One of several states of the run in this folder, each with the history of those before:
    /// the one with the highest number is read.
    State(PathBuf, u64),
}

/// [`Format::place`] of a format whose files carry no telling name.
pub(crate) fn anywhere(_: &Path) -> Place {
    Place::Unknown
}

/// The beginning of a file.
pub(crate) struct Head<'a> {
    bytes: &'a [u8],
    lines: Vec<&'a [u8]>,
}

impl<'a> Head<'a> {
    /// Of these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let text = without_mark(bytes);
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        // Two lines tell a table from a sentence; more are not needed.
        let lines = match text.contains(&0) {
            true => Vec::new(),
            false => lines.filter(|line| !line.is_empty()).take(2).collect(),
        };
        Self { bytes, lines }
    }

    /// The bytes as they are in the file.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first line that is not blank; `None` for a binary file and one without such a line.
    pub(crate) fn first_line(&self) -> Option<&'a [u8]> {
        self.lines.first().copied()
    }

    /// The second line that is not blank.
    pub(crate) fn second_line(&self) -> Option<&'a [u8]> {
        self.lines.get(1).copied()
    }

    /// Whether a second line follows that is not blank.
    pub(crate) fn has_second_line(&self) -> bool {
        self.lines.len() > 1
    }

    /// What to tell somebody whose file is of no format.
    pub(crate) fn description(&self) -> &'static str {
        if self.bytes.is_empty() {
            "it is empty"
        } else if self.bytes.contains(&0) {
            "it is a binary file of another kind"
        } else if self.lines.is_empty() {
            "it holds blank lines only"
        } else {
            "it is text without a header line and rows"
        }
    }
}

/// The text without the byte order mark that some editors write before UTF-8.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}
