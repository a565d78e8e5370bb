use std::path::Path;

use serde::{Deserialize, Serialize};
use steadygrad::guard::Preset;
use steadygrad_lab::Study;
use steadygrad_lab::faults::Fault;
use steadygrad_lab::study::parse;

use crate::error::CliError;

/// The settings that a run was started with, for the commands that resume or replay it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunSettings {
    /// The study as TOML.
    pub(crate) study: String,
    pub(crate) preset: Preset,
    pub(crate) faults: Vec<Fault>,
}

impl RunSettings {
    /// Their file in the run's folder.
    pub(crate) const FILE: &str = "train.json";

    pub(crate) fn read(run: &Path) -> Result<Self, CliError> {
        let path = run.join(Self::FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| CliError::NoRun {
            path: path.clone(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| CliError::Settings { path, source })
    }

    /// The study that the run in this folder was started with.
    pub(crate) fn study(&self, run: &Path) -> Result<Study, CliError> {
        parse(&self.study).map_err(|source| CliError::Study {
            path: run.join(Self::FILE),
            source,
        })
    }
}
