//! `incidents.jsonl`: one [`Incident`] a line.

use std::path::{Path, PathBuf};

use super::RecordError;
use super::disk::ToSync;
use super::manifest::RunFile;
use super::problem::{Found, Problem};
use super::segments::{Log, Rows, join};
use super::summed::{SummedWriter, read_parts};
use steadygrad::guard::Incident;

/// Appends incidents to one segment.
pub(super) struct IncidentWriter {
    path: PathBuf,
    log: SummedWriter,
}

impl IncidentWriter {
    pub(super) fn create(path: PathBuf) -> Result<Self, RecordError> {
        Ok(Self {
            log: SummedWriter::create(path.clone())?,
            path,
        })
    }

    pub(super) fn push(&mut self, incident: &Incident) -> Result<(), RecordError> {
        let mut line =
            serde_json::to_vec(incident).map_err(|source| RecordError::json(&self.path, source))?;
        line.push(b'\n');
        self.log.append(&line)
    }

    pub(super) fn to_sync(&self) -> [ToSync<'_>; 2] {
        self.log.to_sync()
    }
}

/// Reads the incidents of a run directory, which may still be written.
///
/// Torn or changed parts are left out and named. Steps that a resumed run repeated have the later
/// incidents only.
///
/// # Errors
/// [`RecordError::Io`] if the folder has no such file or cannot be listed.
pub fn read_incidents(run: &Path) -> Result<Found<Vec<Incident>>, RecordError> {
    let manifest = RunFile::read_if_whole(run)?;
    let (manifest, mut problems) = (manifest.value, manifest.problems);
    let mut segments = Vec::new();
    for number in Log::Incidents.list(run, manifest.as_ref())? {
        let path = Log::Incidents.path(run, number);
        let read = read_parts(&path);
        problems.extend(read.problems);
        let mut rows = Vec::new();
        for range in read.parts.into_iter().filter_map(|part| part.range) {
            let line = read.bytes.get(range).unwrap_or_default();
            match serde_json::from_slice(line) {
                Ok(incident) => rows.push(incident),
                Err(error) => problems.push(Problem::malformed(&path, error)),
            }
        }
        let first_step = manifest.as_ref().and_then(|run| run.first_step(number));
        segments.push(Rows { first_step, rows });
    }
    let (value, _) = join(segments, |incident: &Incident| incident.step);
    Ok(Found { value, problems })
}
