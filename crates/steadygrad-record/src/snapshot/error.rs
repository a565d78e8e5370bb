//! Why a snapshot was not written.

use super::dtype::Dtype;
use crate::{LastGood, RecordError};

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A tensor holds non-finite values.
    #[error("`{tensor}` holds {count} NaN or infinite values; no run should go back to it")]
    NonFinite {
        /// The first such tensor.
        tensor: String,
        /// The number of its values that are not finite.
        count: u64,
    },
    /// A tensor does not have the bytes that its shape and type need.
    #[error(
        "`{tensor}` has {bytes} bytes, which its shape {shape:?} and type {dtype:?} do not need"
    )]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Its bytes.
        bytes: usize,
    },
    /// Two tensors share a name, or the file format reserves it.
    #[error("the tensor name `{tensor}` is taken; give each tensor a name of its own")]
    Name {
        /// The name.
        tensor: String,
    },
    /// The tensors do not fit the file format.
    #[error("the tensors cannot be written as safetensors: {reason}")]
    Tensors {
        /// The writer's answer.
        reason: String,
    },
    /// The state cannot be read back from JSON.
    #[error("the state does not survive JSON: {reason}; keep it less deeply nested")]
    State {
        /// What happened.
        reason: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl SnapshotError {
    pub(crate) fn with_last_good(self, find: impl FnOnce() -> Option<LastGood>) -> Self {
        match self {
            Self::Record(error) => Self::Record(error.with_last_good(find)),
            other => other,
        }
    }
}
