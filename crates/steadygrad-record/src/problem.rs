//! Damage found on the disk, as values for the caller to show.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What could be read, and what could not.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The verified content.
    pub value: T,
    /// What was left out or replaced, and why. Empty if nothing is damaged.
    pub problems: Vec<Problem>,
}

/// One damaged file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("`{}` {what}", path.display())]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// The damage.
    pub what: Damage,
}

impl Problem {
    pub(super) fn new(path: &Path, what: Damage) -> Self {
        Self {
            path: path.to_owned(),
            what,
        }
    }

    /// The system refused to read a file.
    pub(super) fn refused(path: &Path, error: &std::io::Error) -> Self {
        let what = if error.kind() == std::io::ErrorKind::NotFound {
            Damage::Missing
        } else {
            Damage::Malformed {
                reason: error.to_string(),
            }
        };
        Self::new(path, what)
    }

    pub(super) fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::new(
            path,
            Damage::Malformed {
                reason: reason.to_string(),
            },
        )
    }

    /// Whether this is an unfinished end, as a killed writer leaves it and a reader sees it while
    /// the writer works. Everything before it was read.
    pub fn is_torn_tail(&self) -> bool {
        matches!(self.what, Damage::TornTail { .. })
    }
}

/// How a file differs from what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// It is missing.
    #[error("is missing")]
    Missing,
    /// Its length is wrong.
    #[error("has {found} bytes where {expected} were written")]
    Length {
        /// The number of bytes that were written.
        expected: u64,
        /// The number of bytes in the file.
        found: u64,
    },
    /// The end with its own checksum is missing.
    #[error("does not end in its checksum: it is torn, or was changed since it was written")]
    Unsealed,
    /// Its bytes were changed.
    #[error("does not match its checksum: it was changed since it was written")]
    Checksum,
    /// One part of an append-only file was changed. The other parts were read.
    #[error("does not match its checksum at bytes {from} to {to}; that part is left out")]
    Part {
        /// The first byte of the part.
        from: u64,
        /// One past its last byte.
        to: u64,
    },
    /// The checksum of one part of an append-only file is lost. The other parts were read.
    #[error("has no checksum for bytes {from} to {to}; that part is left out")]
    Unverified {
        /// The first byte of the part.
        from: u64,
        /// One past its last byte.
        to: u64,
    },
    /// An unfinished write at the end: see [`Problem::is_torn_tail`].
    #[error("ends in {bytes} bytes of an unfinished write; they are left out")]
    TornTail {
        /// The number of values or bytes.
        bytes: u64,
    },
    /// The system refused to read it, or its content has another form.
    #[error("is not readable: {reason}")]
    Malformed {
        /// The system's or the parser's answer.
        reason: String,
    },
    /// An intact snapshot of non-finite weights, to which no run should go back.
    #[error("holds {count} NaN or infinite values")]
    NonFinite {
        /// The number of values or bytes.
        count: u64,
    },
}
