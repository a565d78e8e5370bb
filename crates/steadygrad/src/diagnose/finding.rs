use serde::{Deserialize, Serialize};

use crate::{Evidence, Place, float};

/// How much a finding matters.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FindingLevel {
    /// Good to know; nothing is wrong.
    Note,
    /// Something is wrong, and the run lives.
    Warning,
    /// The run is lost, or will be.
    #[default]
    Error,
}

impl FindingLevel {
    /// `note`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The numbers of a finding's little chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// The log's column.
    pub column: String,
    /// The step of each value.
    pub steps: Vec<u64>,
    /// The values; of a long stretch the largest of each of its equal parts, a value that is not
    /// finite before all others.
    #[serde(with = "float::list")]
    pub values: Vec<f64>,
}

/// One fault: what, where, why, and what to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable code, `SG001` and so on.
    pub code: String,
    /// How much it matters.
    #[serde(default)]
    pub level: FindingLevel,
    /// One line: the fault with its number.
    pub title: String,
    /// Where it sits.
    pub place: Place,
    /// Training step at which it was seen first; `None` when it is there before the first.
    pub step: Option<u64>,
    /// The last step of it, where it spans several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The numbers.
    pub evidence: Vec<Evidence>,
    /// Of headlines of this rule on runs whose truth is known, the share that was right: between 0 and 1.
    /// `None` where none was seen, and of all findings but the first.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "float::option"
    )]
    pub confidence: Option<f64>,
    /// The log around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
    /// Why this is bad, in a sentence or two.
    pub why: String,
    /// The concrete change.
    pub help: String,
    /// What would make it surer, or what else it could be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
