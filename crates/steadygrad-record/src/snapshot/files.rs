//! The folder of a snapshot.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::file_sum::FileSum;
use super::{NonFinite, Snapshot, SnapshotError, tensors};
use crate::disk::NewFolder;
use crate::problem::Problem;
use crate::seal::{seal, unseal};
use crate::{FORMAT, RecordError};

pub(crate) const MANIFEST: &str = "manifest.json";
const TENSORS: &str = "tensors.safetensors";
const STATE: &str = "state.json";

/// All files, the manifest last.
pub(crate) const FILES: [&str; 3] = [TENSORS, STATE, MANIFEST];

/// Reads a small file. An error if its length or checksum differs from `sum`.
pub(crate) fn read_summed(path: &Path, sum: &FileSum) -> Result<Vec<u8>, Problem> {
    let bytes = fs::read(path).map_err(|error| Problem::refused(path, &error))?;
    sum.check_length(path, bytes.len() as u64)?;
    sum.check(path, xxh3_64(&bytes))?;
    Ok(bytes)
}

/// `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotManifest {
    format: u32,
    pub(super) step: u64,
    /// NaN and infinite values in the tensors.
    pub(super) non_finite: u64,
    tensors_file: FileSum,
    state_file: FileSum,
    /// The names of the tensors in the caller's order.
    tensors: Vec<String>,
}

impl SnapshotManifest {
    pub(super) fn read(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|error| Problem::refused(&path, &error))?;
        let manifest: Self = unseal(&bytes).map_err(|what| Problem::new(&path, what))?;
        match manifest.format {
            FORMAT => Ok(manifest),
            other => Err(Problem::malformed(
                &path,
                format!("it has layout {other}, this steadygrad reads {FORMAT}"),
            )),
        }
    }
}

/// Writes the files of a snapshot, the manifest last. Nothing is synced yet.
pub(crate) fn write_files(
    folder: &mut NewFolder,
    snapshot: &Snapshot,
    non_finite: NonFinite,
) -> Result<(), SnapshotError> {
    let non_finite = snapshot.check(non_finite)?;
    let state = state_bytes(&snapshot.state)?;
    let tensors_file = tensors::write(folder, TENSORS, &snapshot.tensors)?.into();
    let state_file = folder.write(STATE, &state)?.into();
    let manifest = SnapshotManifest {
        format: FORMAT,
        step: snapshot.step,
        non_finite,
        tensors_file,
        state_file,
        tensors: snapshot
            .tensors
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect(),
    };
    let bytes = seal(&manifest)
        .map_err(|source| RecordError::json(&folder.path().join(MANIFEST), source))?;
    folder.write(MANIFEST, &bytes)?;
    Ok(())
}

/// The state as JSON, after a check that it reads back: the parser limits nesting, the writer does
/// not.
fn state_bytes(state: &Map<String, Value>) -> Result<Vec<u8>, SnapshotError> {
    let refused = |error: serde_json::Error| SnapshotError::State {
        reason: error.to_string(),
    };
    let bytes = serde_json::to_vec_pretty(state).map_err(refused)?;
    let back: Map<String, Value> = serde_json::from_slice(&bytes).map_err(refused)?;
    if &back == state {
        Ok(bytes)
    } else {
        Err(SnapshotError::State {
            reason: "it reads back as another".into(),
        })
    }
}

/// Reads and verifies a snapshot's folder.
pub(crate) fn read_folder(folder: &Path) -> Result<Snapshot, Problem> {
    let manifest = SnapshotManifest::read(folder)?;
    let path = folder.join(STATE);
    let state = read_summed(&path, &manifest.state_file)?;
    let state = serde_json::from_slice(&state).map_err(|error| Problem::malformed(&path, error))?;
    let path = folder.join(TENSORS);
    Ok(Snapshot {
        step: manifest.step,
        tensors: tensors::read(&path, &manifest.tensors_file, &manifest.tensors)?,
        state,
    })
}
