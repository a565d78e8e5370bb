//! The run directory. Nothing that was written is lost, and nothing half-written is used.
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
//! [`read_dump`]) work while the run is being written. They verify every byte that they use, return
//! everything intact, and name the rest as [`Problem`]s. A number in a damaged file never decides
//! how much memory they take, and they do not panic.
//!
//! **Durability.** Flushed data (64 rows, an incident, a snapshot, the end) survive a killed
//! process. Synced data (a snapshot, a dump, the end) also survive a power cut. A snapshot is
//! written after the rows before it are synced, so a run resumed from it has all its rows. A failed
//! write, on a full disk for example, leaves everything before it untouched, and its error names
//! the last good state.

mod disk;
mod error;
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
pub use error::{LastGood, RecordError};
pub use folder_lock::FolderLock;
pub use forensics::{Dump, Dumped, ForensicRing, RingStep, list_dumps, read_dump};
pub use incidents::read_incidents;
pub use manifest::{Manifest, RunStatus, read_manifest};
pub use problem::{Damage, Found, Problem};
pub use run_dir::{RunDir, has_writer};
pub use snapshot::{
    Dtype, NonFinite, Snapshot, SnapshotEntry, SnapshotError, SnapshotStore, Tensor,
};
pub use step_table::{Segment, StepTable, read_steps};
pub use steps::StepRecord;

/// The version of `serde_json` whose objects a [`Snapshot`] holds.
pub use serde_json;

/// The version of the layout that this crate writes and reads.
pub const FORMAT: u32 = 1;
