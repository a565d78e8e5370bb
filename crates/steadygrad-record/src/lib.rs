//! A run directory: nothing that was written is lost, and nothing half-written is believed.
//!
//! | file | what | how it is written |
//! |---|---|---|
//! | `run.json` | the [`Manifest`] | whole, ends in its own checksum |
//! | `run.json.previous` | the version before it, read when `run.json` is damaged | the same |
//! | `steps.arrow` | one row an optimizer step, a plain Arrow IPC stream | grows by batches of at most 64 rows |
//! | `incidents.jsonl` | one [`Incident`](steadygrad::guard::Incident) a line | grows by lines |
//! | `steps-2.arrow`, `incidents-2.jsonl`, ... | the same, from each resumption on | the same |
//! | `steps.arrow.sums`, ... | a checksum for each part of the file it is named after | grows with it |
//! | `snapshots/000007-step-420/` | a [`Snapshot`]: `tensors.safetensors`, `state.json`, and last `manifest.json` with their checksums | under another name, then renamed |
//! | `incidents/0001/` | what led to an incident ([`ForensicRing`]): `ring.json`, `snapshot/`, and last `manifest.json` | the same |
//! | `lock` | held by the process that writes the run | |
//!
//! **Readers** ([`read_manifest`], [`read_steps`], [`read_incidents`], [`SnapshotStore`],
//! [`read_dump`]) work while the run is being written. They verify every byte they use, return all
//! that is as it was written, and name the rest as [`Problem`]s. They take memory for what is
//! there, never for what a damaged file says there is, and do not panic.
//!
//! **How long things last.** What was flushed (64 rows, an incident, a snapshot, the end) survives
//! the death of the process; what was synced (a snapshot, a dump, the end) survives a power cut
//! too. A snapshot is written after the rows before it were synced, so a run resumed from it has
//! all its rows. A write that fails, on a full disk for example, leaves everything before it as it
//! was, and says where the last good state is.

mod disk;
mod folder_lock;
mod forensics;
mod incidents;
mod manifest;
mod problem;
mod run_dir;
mod seal;
mod segments;
mod snapshot;
mod step_batch;
mod step_table;
mod steps;
mod summed;
#[cfg(test)]
mod tests;

pub use disk::write_atomic;
pub use folder_lock::FolderLock;
pub use forensics::{Dump, Dumped, ForensicRing, RingStep, list_dumps, read_dump};
pub use incidents::read_incidents;
pub use manifest::{Manifest, RunStatus, read_manifest};
pub use problem::{Damage, Found, Problem};
pub use run_dir::RunDir;
pub use snapshot::{
    Dtype, NonFinite, Snapshot, SnapshotEntry, SnapshotError, SnapshotStore, Tensor,
};
pub use step_table::{Segment, StepTable, read_steps};
pub use steps::StepRecord;

use std::io;
use std::path::{Path, PathBuf};

/// The version of the layout that this module writes and reads.
pub const FORMAT: u32 = 1;

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
        source: io::Error,
    },
    /// The disk, the quota or the largest allowed file is full. Nothing written before is lost.
    #[error("no space left to {action} `{}`: {source}; {}", path.display(), last_good_text(last_good.as_ref()))]
    Full {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The newest snapshot that is whole.
        last_good: Option<LastGood>,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder holds something already.
    #[error("the output folder `{}` is not empty; name a new one, so that no earlier result is overwritten", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes there.
    #[error("`{}` is being written by another process, or by another guard of this one; wait until it ends, close it, or name another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Not to be put as JSON.
    #[error("`{}` cannot be written as JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The writer's answer.
        source: serde_json::Error,
    },
    /// Not to be put as an Arrow IPC stream.
    #[error("`{}` cannot be written as an Arrow stream: {source}", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// The writer's answer.
        source: arrow_schema::ArrowError,
    },
    /// A later version of steadygrad wrote it.
    #[error("`{}` has layout {format}, this steadygrad reads {FORMAT}; use the version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        format: u32,
    },
    /// Nothing in its place could be used either.
    #[error("{0}, and nothing stands in for it; is this a run directory?")]
    Damaged(Problem),
}

/// Where a run can go on from.
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
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
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

    fn arrow(path: &Path, source: arrow_schema::ArrowError) -> Self {
        Self::Arrow {
            path: path.to_owned(),
            source,
        }
    }

    /// Says in [`Full`](Self::Full) where the run can go on from.
    fn with_last_good(self, find: impl FnOnce() -> Option<LastGood>) -> Self {
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
