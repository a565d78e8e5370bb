//! The state of a run as one value, and its check before it is written.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::dtype::Dtype;
use super::error::SnapshotError;
use super::finite;

/// The state before a step. From it a run goes on as if it had never stopped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The step that runs next.
    pub step: u64,
    /// Parameters and the optimizer's tensors. Names are unique; `__metadata__` is reserved.
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
    /// The number format of its values.
    pub dtype: Dtype,
    /// Its dimensions. Empty for a single value. A zero makes the tensor empty.
    pub shape: Vec<usize>,
    /// Its values in row-major order, little-endian.
    pub bytes: Vec<u8>,
}

/// What to do with NaN and infinite values when a snapshot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// Refuse: no run should go back to broken weights.
    Refuse,
    /// Write them. [`SnapshotStore::newest_good`](super::SnapshotStore::newest_good) still ignores
    /// such a snapshot.
    Allow,
}

impl Snapshot {
    /// Checks names, shapes and values before anything is written. Returns the number of non-finite
    /// values.
    pub(super) fn check(&self, non_finite: NonFinite) -> Result<u64, SnapshotError> {
        // The file format reserves this key.
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
