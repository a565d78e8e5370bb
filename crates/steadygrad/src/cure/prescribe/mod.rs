//! What to change, ready to paste: as a study, for Burn and for PyTorch.

mod burn;
mod pytorch;

use serde::{Deserialize, Serialize};

use crate::remedy::Remedy;

/// The winner, ready to use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prescription {
    /// Name of the winning trial.
    pub trial: String,
    /// The change in one line.
    pub summary: String,
    /// The study's lines that change, as a unified diff. `None` without a study.
    pub study_diff: Option<String>,
    /// Rust code for a model written with Burn.
    pub burn: String,
    /// Python code for a model written with PyTorch.
    pub pytorch: String,
}

impl Prescription {
    /// Writes the prescription of one remedy.
    pub fn new(trial: String, remedy: &Remedy, study_diff: Option<String>) -> Self {
        Self {
            trial,
            summary: remedy.to_string(),
            study_diff,
            burn: burn::snippet(remedy),
            pytorch: pytorch::snippet(remedy),
        }
    }
}
