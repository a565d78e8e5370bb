//! A run directory: `run.json` (the manifest), `steps.arrow` (one row a step, an Arrow IPC
//! stream) and `incidents.jsonl` (one detection a line).
//!
//! Steps and incidents are appended while the run goes on; `run.json` is written whole, through
//! a temporary file that is then renamed, so a reader sees the old one or the new one.

mod run_dir;
mod steps;

pub use run_dir::{Manifest, RunDir, RunStatus, read_incidents, write_atomic};
pub use steps::{StepRecord, StepTable, read_steps};

use std::path::PathBuf;

/// What can go wrong with a run directory.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}; check that the folder exists and may be written", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder holds something already.
    #[error("the output folder `{}` is not empty; name a new one, so that no earlier result is overwritten", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Not JSON of the expected shape.
    #[error("`{}` is not readable: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's answer.
        source: serde_json::Error,
    },
    /// Not an Arrow IPC stream of the expected shape.
    #[error("`{}` is not a readable step file: {source}", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// The reader's answer.
        source: arrow_schema::ArrowError,
    },
    /// A column that every step file has is missing.
    #[error("`{}` has no column `{column}` of the expected type; it was not written by steadygrad", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
}
