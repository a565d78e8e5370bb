use serde::{Deserialize, Serialize};

/// How much is wrong, from least to most. The ladder acts on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; never acted on.
    Note,
    /// Out of the ordinary: no snapshot is taken now, and the learning rate does not climb. A
    /// spike of the gradient norm is clipped back.
    Suspicious,
    /// This step must not be applied.
    Harmful,
    /// What is wrong is in the weights already, where skipping cannot mend it.
    Damage,
}
