//! Everything that a run needs to go on from a step, as one value and as one folder.

mod dtype;
mod error;
mod file_sum;
mod files;
mod finite;
mod state;
mod store;
mod tensors;

pub use dtype::Dtype;
pub use error::SnapshotError;
pub(super) use file_sum::FileSum;
pub(super) use files::{FILES, MANIFEST, read_folder, read_summed, write_files};
pub use state::{NonFinite, Snapshot, Tensor};
pub use store::{SnapshotEntry, SnapshotStore};
