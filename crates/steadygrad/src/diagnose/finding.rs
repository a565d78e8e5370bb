use serde::{Deserialize, Serialize};

use crate::{Evidence, Place, float};

/// How much a finding matters.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingLevel {
    /// Good to know; no fault.
    Note,
    /// Something is wrong, and the run is alive.
    Warning,
    /// The run is lost, or will be.
    #[default]
    Error,
}

impl FindingLevel {
    /// Returns `note`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A column of a log, thinned for a small chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// The log's column.
    pub column: String,
    /// The step of each value.
    pub steps: Vec<u64>,
    /// The values. A long stretch is cut into equal parts, and each part shows its largest value; a
    /// value that is not finite counts as the largest.
    #[serde(with = "float::list")]
    pub values: Vec<f64>,
}

/// One fault: what, where, why, and what to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// Stable code, `SG001` and so on.
    pub code: String,
    /// How much it matters.
    #[serde(default)]
    pub level: FindingLevel,
    /// One line: the fault and its number.
    pub title: String,
    /// Where it is.
    pub place: Place,
    /// The first training step that shows it; `None` when it is there before the first step.
    pub step: Option<u64>,
    /// The last step that shows it, where it spans several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The numbers.
    pub evidence: Vec<Evidence>,
    /// The measured hit rate of the rule's headlines, between 0 and 1
    /// ([`HitRate::confidence`](super::HitRate::confidence)). `None` where none was measured, and
    /// for all findings but the headline.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "float::option"
    )]
    pub confidence: Option<f64>,
    /// The log around the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
    /// Why this is bad, in a sentence or two.
    pub why: String,
    /// The concrete change.
    pub help: String,
    /// What to log to be surer, or what else it may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
