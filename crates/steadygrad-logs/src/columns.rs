/// Column names that the user gives. A role that is `None` is inferred from the log's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The optimizer step.
    pub step: Option<String>,
    /// Training loss.
    pub loss: Option<String>,
    /// Global gradient norm before clipping.
    pub grad_norm: Option<String>,
    /// Learning rate.
    pub learning_rate: Option<String>,
}
