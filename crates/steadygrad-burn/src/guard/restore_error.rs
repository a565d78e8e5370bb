use burn::tensor::DType;

/// Why a [`TrainingState`](crate::TrainingState) cannot be saved to a snapshot or restored from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot lacks an entry.
    #[error(
        "the snapshot has no `{name}`: it belongs to another model; restore it into the model that \
         it was saved from"
    )]
    Missing {
        /// Name of the entry in the snapshot.
        name: String,
    },
    /// A tensor has another shape than the model's parameter.
    #[error(
        "`{name}` has shape {found:?} in the snapshot, but {expected:?} in the model; build the \
         model with the settings of the saved run"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// Its shape in the snapshot.
        found: Vec<usize>,
        /// Its shape in the model.
        expected: Vec<usize>,
    },
    /// A snapshot cannot hold this number type.
    #[error(
        "`{name}` has the number type {dtype:?}, which a snapshot cannot hold; use a float, \
         integer or boolean type"
    )]
    Type {
        /// The parameter.
        name: String,
        /// Its number type.
        dtype: DType,
    },
    /// An entry cannot be parsed.
    #[error(
        "`{name}` in the snapshot cannot be read: {reason}; read it with the version of steadygrad \
         that wrote it"
    )]
    Value {
        /// Name of the entry in the snapshot.
        name: String,
        /// What the parser found.
        reason: String,
    },
    /// Burn cannot write or read the optimizer's state.
    #[error(
        "the optimizer's state cannot be saved or restored: {reason}; build the optimizer with the \
         settings of the saved run"
    )]
    Optimizer {
        /// Burn's answer.
        reason: String,
    },
}
