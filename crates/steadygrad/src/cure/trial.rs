use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::remedy::{Derivation, Family, Remedy};

/// The purpose of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialKind {
    /// The user's run, unchanged and only observed.
    Baseline,
    /// A remedy of this family, with computed parameters.
    Family(Family),
    /// A trivial change that a remedy must beat.
    Control,
}

/// One change to the run, and the outcome of trying it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Unique name, for example `clip` or `control: clip=1`.
    pub name: String,
    /// The purpose of the trial.
    pub kind: TrialKind,
    /// The change; `None` for the baseline and for a remedy that does not apply.
    pub remedy: Option<Remedy>,
    /// How the parameters were computed. `None` for controls, which are not computed.
    pub derivation: Option<Derivation>,
    /// Why the remedy does not apply here.
    pub not_tried: Option<String>,
    /// The outcome. `None` if the trial was not run.
    pub outcome: Option<Outcome>,
}

/// The name of the unchanged run.
pub const BASELINE: &str = "baseline";

impl Trial {
    /// Returns the trial of the unchanged run. `outcome` is `None` before it has run.
    pub fn baseline(outcome: Option<Outcome>) -> Self {
        Self {
            name: BASELINE.into(),
            kind: TrialKind::Baseline,
            remedy: None,
            derivation: None,
            not_tried: None,
            outcome,
        }
    }

    /// Returns the name of the trial's folder: `control: clip=1` becomes `control-clip-1`.
    pub fn folder_name(&self) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        };
        let name: String = self.name.chars().map(plain).collect();
        name.split('-')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_without_what_a_shell_reads() {
        let mut trial = Trial::baseline(None);
        assert_eq!(trial.folder_name(), "baseline");
        for (name, folder) in [
            ("control: clip=1", "control-clip-1"),
            ("slow_down", "slow_down"),
        ] {
            trial.name = name.into();
            assert_eq!(trial.folder_name(), folder);
        }
    }
}
