//! What can go wrong with a run directory.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::FORMAT;
use crate::problem::Problem;

/// An error of the library that writes a format.
type BoxedError = Box<dyn Error + Send + Sync>;

/// What can go wrong with a run directory. Each message ends with what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The operating system refused.
    #[error(
        "cannot {action} `{}`: {source}; check that the folder exists and may be written",
        path.display()
    )]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk, the quota or the largest allowed file is full. Nothing written before is lost.
    #[error(
        "no space left to {action} `{}`: {source}; {}",
        path.display(),
        last_good_text(last_good.as_ref())
    )]
    Full {
        /// The operation that failed.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The newest snapshot that is whole.
        last_good: Option<LastGood>,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder holds something already.
    #[error(
        "the output folder `{}` is not empty; name a new one, so that no earlier result is \
         overwritten",
        path.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes there.
    #[error(
        "`{}` is being written by another process, or by another guard of this one; wait until it \
         ends, close it, or name another folder",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The value has no form in JSON.
    #[error("`{}` cannot be written as JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The writer's answer.
        source: BoxedError,
    },
    /// The rows have no form as an Arrow IPC stream.
    #[error("`{}` cannot be written as an Arrow stream: {source}", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// The writer's answer.
        source: BoxedError,
    },
    /// A later version of steadygrad wrote it.
    #[error(
        "`{}` has layout {format}, this steadygrad reads {FORMAT}; use the version that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        format: u32,
    },
    /// A file is damaged, and no other file can replace it.
    #[error("{0}, and no other file can replace it; is this a run directory?")]
    Damaged(Problem),
}

/// A state from which a run can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGood {
    /// The step that would run next.
    pub step: u64,
    /// The snapshot.
    pub path: PathBuf,
}

fn last_good_text(last_good: Option<&LastGood>) -> String {
    match last_good {
        Some(LastGood { step, path }) => format!(
            "the last good state is at step {step} in `{}`: free some space and resume from there",
            path.display()
        ),
        None => "free some space, and start again or go on from a checkpoint of your own".into(),
    }
}

impl RecordError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full {
                action,
                path,
                last_good: None,
                source,
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    pub(crate) fn arrow(path: &Path, source: arrow_schema::ArrowError) -> Self {
        Self::Arrow {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Adds to [`Full`](Self::Full) the state from which the run can go on.
    pub(crate) fn with_last_good(self, find: impl FnOnce() -> Option<LastGood>) -> Self {
        match self {
            Self::Full {
                action,
                path,
                last_good: None,
                source,
            } => Self::Full {
                action,
                path,
                last_good: find(),
                source,
            },
            other => other,
        }
    }
}
