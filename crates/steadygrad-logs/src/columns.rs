/// The log's names for what should not be told from the names themselves. What is `None` is told.
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
