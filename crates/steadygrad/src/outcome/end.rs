use serde::{Deserialize, Serialize};

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum End {
    /// All planned steps were done.
    Completed,
    /// The guard stopped the trial, or its values stayed non-finite.
    Failed {
        /// Why.
        reason: String,
    },
    /// A person stopped the trial.
    Interrupted,
}
