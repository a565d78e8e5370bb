use serde::{Deserialize, Serialize};

use crate::remedy::Remedy;

/// A change that is ready to paste: as a study, for Burn and for PyTorch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prescription {
    /// Name of the winning trial.
    pub trial: String,
    /// The change in one line.
    pub summary: String,
    /// The change to the study, as a unified diff. `None` without a study.
    pub study_diff: Option<String>,
    /// Rust code for a model written with Burn. Empty if the trials ran in PyTorch.
    pub burn: String,
    /// Python code for a model written with PyTorch.
    pub pytorch: String,
}

impl Prescription {
    /// Writes the prescription of one remedy. The code holds the parameters to the last bit. A
    /// non-finite parameter, which no derivation returns, gives code that does not run.
    pub fn new(trial: String, remedy: &Remedy, study_diff: Option<String>) -> Self {
        Self {
            trial,
            summary: remedy.to_string(),
            study_diff,
            burn: remedy.burn(),
            pytorch: remedy.pytorch(),
        }
    }

    /// Returns the prescription for a PyTorch model, without code for Burn. `changes` describes in
    /// a few lines how the trial changed the model. It becomes a comment above the code.
    #[must_use]
    pub fn for_pytorch(self, changes: &str) -> Self {
        let comment: String = changes.lines().map(|line| format!("# {line}\n")).collect();
        Self {
            burn: String::new(),
            pytorch: comment + &self.pytorch,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CLIP_ONE;
    use super::*;

    #[test]
    fn for_pytorch_alone() {
        let both = Prescription::new("clip".into(), &CLIP_ONE, None);
        let alone = both.clone().for_pytorch("one\ntwo");
        assert_eq!(alone.burn, "");
        assert_eq!(alone.pytorch, format!("# one\n# two\n{}", both.pytorch));
        assert_eq!(both.clone().for_pytorch("").pytorch, both.pytorch);
    }
}
