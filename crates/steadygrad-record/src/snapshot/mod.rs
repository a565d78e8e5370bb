//! All that a run needs to go on from a step, as one value and as one folder.

mod file_sum;
mod files;
mod finite;
mod store;
mod tensors;

pub(super) use file_sum::FileSum;
pub(super) use files::{FILES, MANIFEST, read_folder, read_summed, write_files};
pub use store::{SnapshotEntry, SnapshotStore};

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{LastGood, RecordError};

/// The state before a step: with it, a run goes on as if it had never stopped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The step that runs next.
    pub step: u64,
    /// Parameters, and the optimizer's tensors. Names are free but for `__metadata__`, and unique.
    pub tensors: Vec<Tensor>,
    /// Everything else: the optimizer's numbers, scheduler, random generators, position in the
    /// data, state of the guard. JSON has no NaN and no infinity: see [`steadygrad::float`].
    pub state: Map<String, Value>,
}

/// One tensor as its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Dotted path, for example `hidden.3.weight`.
    pub name: String,
    /// What its values are.
    pub dtype: Dtype,
    /// Its dimensions; empty for a single value. A zero among them makes it empty.
    pub shape: Vec<usize>,
    /// Its values in row-major order, little-endian.
    pub bytes: Vec<u8>,
}

/// Number formats of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    F16,
    Bf16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// What to do with NaN and infinite values when a snapshot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// Refuse: nobody should go back to broken weights.
    Refuse,
    /// Write them. [`SnapshotStore::newest_good`] passes over such a snapshot all the same.
    Allow,
}

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A tensor is broken.
    #[error("`{tensor}` holds {count} NaN or infinite values: not a state to go back to")]
    NonFinite {
        /// The first such tensor.
        tensor: String,
        /// How many of its values are not finite.
        count: u64,
    },
    /// A tensor does not have the bytes that its shape and type need.
    #[error(
        "`{tensor}` has {bytes} bytes, its shape {shape:?} and type {dtype:?} need another number"
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
    /// A name that two tensors have, or that the file format keeps for itself.
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
    /// The state would not read back.
    #[error("the state does not survive JSON: {reason}; keep it less deeply nested")]
    State {
        /// What happened.
        reason: String,
    },
    /// The disk.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl SnapshotError {
    pub(super) fn with_last_good(self, find: impl FnOnce() -> Option<LastGood>) -> Self {
        match self {
            Self::Record(error) => Self::Record(error.with_last_good(find)),
            other => other,
        }
    }
}

impl Snapshot {
    /// Checks all that is checked before anything is written; returns how many values are not
    /// finite.
    fn check(&self, non_finite: NonFinite) -> Result<u64, SnapshotError> {
        // The format's own key.
        let mut names = BTreeSet::from(["__metadata__"]);
        let mut total = 0u64;
        for tensor in &self.tensors {
            if !names.insert(&tensor.name) {
                return Err(SnapshotError::Name {
                    tensor: tensor.name.clone(),
                });
            }
            let needed = tensor
                .shape
                .iter()
                .try_fold(tensor.dtype.size(), |size, dim| size.checked_mul(*dim));
            if needed != Some(tensor.bytes.len()) {
                return Err(SnapshotError::Shape {
                    tensor: tensor.name.clone(),
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                    bytes: tensor.bytes.len(),
                });
            }
            let count = finite::non_finite(tensor.dtype, &tensor.bytes);
            if count > 0 && non_finite == NonFinite::Refuse {
                return Err(SnapshotError::NonFinite {
                    tensor: tensor.name.clone(),
                    count,
                });
            }
            total = total.saturating_add(count);
        }
        Ok(total)
    }
}
