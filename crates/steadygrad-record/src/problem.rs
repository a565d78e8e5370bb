//! What was found wrong on the disk, as values for the caller to show.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What could be read, and everything that could not.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// What was read and verified.
    pub value: T,
    /// What was left out or stood in for, and why; empty when all is well.
    pub problems: Vec<Problem>,
}

/// One file or folder that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("`{}` {what}", path.display())]
pub struct Problem {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub what: Damage,
}

impl Problem {
    pub(super) fn new(path: &Path, what: Damage) -> Self {
        Self {
            path: path.to_owned(),
            what,
        }
    }

    /// The system refused to let a file be read.
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

    /// Whether this is what the death of a writer leaves behind, and a writer at work shows to a
    /// reader: an unfinished end. Everything before it was read.
    pub fn is_torn_tail(&self) -> bool {
        matches!(self.what, Damage::TornTail { .. })
    }
}

/// In which way a file is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// Not there.
    #[error("is missing")]
    Missing,
    /// Another length than was written down.
    #[error("has {found} bytes where {expected} were written")]
    Length {
        /// Bytes that were written.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The end with the file's own checksum is not there.
    #[error("does not end in its checksum: it is torn, or was changed since it was written")]
    Unsealed,
    /// The bytes are not those that were written.
    #[error("does not match its checksum: it was changed since it was written")]
    Checksum,
    /// A part of an append-only file is not what was written; the other parts were read.
    #[error("does not match its checksum at bytes {from} to {to}; that part is left out")]
    Part {
        /// First byte.
        from: u64,
        /// One past the last byte.
        to: u64,
    },
    /// A part of an append-only file whose checksum is lost; the other parts were read.
    #[error("has no checksum for bytes {from} to {to}; that part is left out")]
    Unverified {
        /// First byte.
        from: u64,
        /// One past the last byte.
        to: u64,
    },
    /// An unfinished write at the end: see [`Problem::is_torn_tail`].
    #[error("ends in {bytes} bytes of an unfinished write; they are left out")]
    TornTail {
        /// How many.
        bytes: u64,
    },
    /// The system would not let it be read, or it does not hold what such a file holds.
    #[error("is not readable: {reason}")]
    Malformed {
        /// The system's or the parser's answer.
        reason: String,
    },
    /// A snapshot of broken weights: as it was written, but nothing to go back to.
    #[error("holds {count} NaN or infinite values")]
    NonFinite {
        /// How many.
        count: u64,
    },
}
