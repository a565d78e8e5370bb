//! `run.json`: which run this is. It is written whole; the previous version is kept beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::write_atomic;
use super::problem::{Found, Problem};
use super::seal::{seal, unseal};
use super::{FORMAT, RecordError};

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Running, or its process was killed.
    Running,
    /// It ended by itself: it did all steps, or the guard stopped it.
    Ended,
    /// A person stopped it.
    Interrupted,
}

/// `run.json`: which run this is and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout: [`FORMAT`].
    pub format: u32,
    /// Name of the trial, for example `baseline`.
    pub name: String,
    /// What was trained.
    pub subject: String,
    /// Seed of weights and data order.
    pub seed: u64,
    /// Steps planned.
    pub steps: u64,
    /// Parameter names, in model order.
    pub parameters: Vec<String>,
    /// How far it got.
    pub status: RunStatus,
}

/// The content of `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunFile {
    #[serde(flatten)]
    pub(super) manifest: Manifest,
    /// The first step of each segment after the first, one entry for each resumption. `None` if the
    /// version that held it is lost.
    pub(super) resumed_at: Vec<Option<u64>>,
}

fn paths(run: &Path) -> [PathBuf; 2] {
    ["run.json", "run.json.previous"].map(|name| run.join(name))
}

impl RunFile {
    /// Writes `run.json`. An intact earlier version is kept beside it.
    pub(super) fn write(&self, run: &Path) -> Result<(), RecordError> {
        let [current, previous] = paths(run);
        let bytes = seal(self).map_err(|source| RecordError::json(&current, source))?;
        if let Ok(old) = fs::read(&current)
            && unseal::<Self>(&old).is_ok()
        {
            write_atomic(&previous, &old)?;
        }
        write_atomic(&current, &bytes)
    }

    /// The expected number of segments.
    pub(super) fn segments(&self) -> u32 {
        u32::try_from(self.resumed_at.len()).map_or(u32::MAX, |resumed| resumed.saturating_add(1))
    }

    /// The step from which segment `number`, counted from 1, is the run's record.
    pub(super) fn first_step(&self, number: u32) -> Option<u64> {
        match number.checked_sub(2) {
            None => Some(0),
            Some(index) => *self.resumed_at.get(usize::try_from(index).ok()?)?,
        }
    }

    /// Records that segment `number` begins at `step`.
    pub(super) fn resume(&mut self, number: u32, step: u64) {
        let Some(index) = number.checked_sub(2).map(|index| index as usize) else {
            return;
        };
        self.resumed_at.resize(index, None);
        self.resumed_at.push(Some(step));
    }

    /// Like [`read`](Self::read), for readers that can do without a manifest.
    pub(super) fn read_if_whole(run: &Path) -> Result<Found<Option<Self>>, RecordError> {
        match Self::read(run) {
            Ok(found) => Ok(Found {
                value: Some(found.value),
                problems: found.problems,
            }),
            Err(RecordError::Damaged(problem)) => Ok(Found {
                value: None,
                problems: vec![problem],
            }),
            Err(other) => Err(other),
        }
    }

    /// Reads `run.json`, or its previous version if it is damaged.
    pub(super) fn read(run: &Path) -> Result<Found<Self>, RecordError> {
        let [current, previous] = paths(run);
        let first = match read_one(&current) {
            Ok(value) => {
                let problems = Vec::new();
                return check(Found { value, problems }, &current);
            }
            Err(problem) => problem,
        };
        match read_one(&previous) {
            Ok(value) => {
                let problems = vec![first];
                check(Found { value, problems }, &previous)
            }
            Err(_) => Err(RecordError::Damaged(first)),
        }
    }
}

fn read_one(path: &Path) -> Result<RunFile, Problem> {
    let bytes = fs::read(path).map_err(|error| Problem::refused(path, &error))?;
    unseal(&bytes).map_err(|what| Problem::new(path, what))
}

fn check(found: Found<RunFile>, path: &Path) -> Result<Found<RunFile>, RecordError> {
    match found.value.manifest.format {
        FORMAT => Ok(found),
        format => Err(RecordError::Format {
            path: path.to_owned(),
            format,
        }),
    }
}

/// Reads the manifest of a run directory. If `run.json` is torn or changed, the previous version is
/// read, and a problem says so.
///
/// # Errors
/// [`RecordError::Damaged`] if neither is intact, [`RecordError::Format`] if a later version of
/// steadygrad wrote it.
pub fn read_manifest(run: &Path) -> Result<Found<Manifest>, RecordError> {
    let Found { value, problems } = RunFile::read(run)?;
    Ok(Found {
        value: value.manifest,
        problems,
    })
}
