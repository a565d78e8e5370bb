use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::steps::{StepRecord, StepWriter};
use crate::detect::Detection;

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Still going, or its process was killed.
    Running,
    /// It ended by itself: all steps done, or stopped by the guard.
    Ended,
    /// A person stopped it.
    Interrupted,
}

/// `run.json`: which run this is and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
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

/// A run directory open for writing.
pub struct RunDir {
    path: PathBuf,
    manifest: Manifest,
    steps: StepWriter,
    incidents: File,
}

impl RunDir {
    /// Creates the directory (and its parents) and the three files in it.
    ///
    /// # Errors
    /// [`RecordError::NotEmpty`] when the folder holds something, [`RecordError::Io`] when it
    /// cannot be created or written.
    pub fn create(path: &Path, manifest: Manifest) -> Result<Self, RecordError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Io {
                action,
                path,
                source,
            }
        };
        fs::create_dir_all(path).map_err(io("create the folder", path))?;
        if fs::read_dir(path)
            .map_err(io("list", path))?
            .next()
            .is_some()
        {
            return Err(RecordError::NotEmpty {
                path: path.to_owned(),
            });
        }
        write_json(&path.join("run.json"), &manifest)?;
        let incidents_path = path.join("incidents.jsonl");
        let incidents = File::create_new(&incidents_path).map_err(io("create", &incidents_path))?;
        let steps = StepWriter::create(path.join("steps.arrow"), &manifest.parameters)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            steps,
            incidents,
        })
    }

    /// Appends one step.
    pub fn push_step(&mut self, row: StepRecord) -> Result<(), RecordError> {
        self.steps.push(row)
    }

    /// Appends one incident.
    pub fn push_incident(&mut self, incident: &Detection) -> Result<(), RecordError> {
        let path = self.path.join("incidents.jsonl");
        let mut line = serde_json::to_string(incident).map_err(|source| RecordError::Json {
            path: path.clone(),
            source,
        })?;
        line.push('\n');
        self.incidents
            .write_all(line.as_bytes())
            .map_err(|source| RecordError::Io {
                action: "append to",
                path,
                source,
            })
    }

    /// Writes what is pending and closes the run.
    pub fn finish(mut self, status: RunStatus) -> Result<(), RecordError> {
        self.steps.finish()?;
        self.manifest.status = status;
        write_json(&self.path.join("run.json"), &self.manifest)
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RecordError> {
    let text = serde_json::to_string_pretty(value).map_err(|source| RecordError::Json {
        path: path.to_owned(),
        source,
    })?;
    write_atomic(path, (text + "\n").as_bytes())
}

/// Writes a file whole or not at all: to a temporary file beside it, synced, then renamed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    written.map_err(|source| {
        // Best effort: the error below is what the caller must see.
        let _ = fs::remove_file(&partial);
        RecordError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        }
    })
}

/// Reads `incidents.jsonl`. An unfinished last line (the writer was killed) is left out.
pub fn read_incidents(path: &Path) -> Result<Vec<Detection>, RecordError> {
    read_lines(path)
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let io = |source| RecordError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    // Bytes, because a line can be torn in the middle of a character.
    let (mut rows, mut line) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).map_err(io)? > 0 {
        if !line.ends_with(b"\n") {
            break;
        }
        rows.push(
            serde_json::from_slice(&line).map_err(|source| RecordError::Json {
                path: path.to_owned(),
                source,
            })?,
        );
        line.clear();
    }
    Ok(rows)
}
