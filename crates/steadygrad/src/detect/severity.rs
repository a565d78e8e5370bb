use serde::{Deserialize, Serialize};

/// How much is wrong, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; never acted on.
    Note,
    /// Unusual: no snapshot is taken now, and the learning rate does not climb. A spike of the
    /// gradient norm is clipped back.
    Suspicious,
    /// This step must not be applied.
    Harmful,
    /// The weights are damaged already, so that a skip cannot help.
    Damage,
}
