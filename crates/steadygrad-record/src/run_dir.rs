//! The writer of a run directory.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::RecordError;
use super::disk::{ToSync, create_dir_all, sync_dir, sync_together};
use super::folder_lock::FolderLock;
use super::forensics::{self, Dumped, Fired, ForensicRing};
use super::incidents::IncidentWriter;
use super::manifest::{Manifest, RunFile, RunStatus};
use super::problem::Found;
use super::segments::Log;
use super::snapshot::{NonFinite, Snapshot, SnapshotEntry, SnapshotError, SnapshotStore};
use super::steps::{StepRecord, StepWriter};
use steadygrad::guard::Incident;

const LOCK: &str = "lock";

/// What is left of a run whose process died before there was a manifest: nothing.
const BEFORE_THE_RUN: [&str; 2] = [LOCK, "run.json.partial"];

/// A run directory open for writing, by one process at a time.
pub struct RunDir {
    path: PathBuf,
    file: RunFile,
    steps: StepWriter,
    incidents: IncidentWriter,
    snapshots: SnapshotStore,
    _lock: FolderLock,
}

impl RunDir {
    /// Creates the directory (and its parents) and the files in it.
    ///
    /// # Errors
    /// [`RecordError::NotEmpty`] when the folder holds something, [`RecordError::Io`] when it
    /// cannot be created or written.
    pub fn create(path: &Path, manifest: Manifest) -> Result<Self, RecordError> {
        create_dir_all(path)?;
        let io = |source| RecordError::io("list", path, source);
        for entry in fs::read_dir(path).map_err(io)? {
            if !BEFORE_THE_RUN.contains(&&*entry.map_err(io)?.file_name().to_string_lossy()) {
                return Err(RecordError::NotEmpty {
                    path: path.to_owned(),
                });
            }
        }
        let lock = FolderLock::acquire(path, LOCK)?;
        let file = RunFile {
            manifest,
            resumed_at: Vec::new(),
        };
        file.write(path)?;
        Self::open(path, file, lock, 1)
    }

    /// Opens a run to go on with it at `next_step`, the step of the snapshot that it goes on from
    /// (0 when there is none). The rows and incidents that follow go into new segments; nothing
    /// that was written before is touched but `run.json`, which says `Running` again.
    ///
    /// # Errors
    /// [`RecordError::InUse`] while another process writes the run, [`RecordError::Damaged`] when
    /// neither `run.json` nor the version before it is whole.
    pub fn resume(path: &Path, next_step: u64) -> Result<Found<Self>, RecordError> {
        // Before the lock as well, whose file is not to be left in any folder.
        RunFile::read(path)?;
        let lock = FolderLock::acquire(path, LOCK)?;
        let Found {
            value: mut file,
            problems,
        } = RunFile::read(path)?;
        let mut used = Log::Steps.on_disk(path)?;
        used.extend(Log::Incidents.on_disk(path)?);
        let number = match used.last() {
            None => 1,
            Some(&last) => last.max(file.segments()).saturating_add(1),
        };
        file.manifest.status = RunStatus::Running;
        file.resume(number, next_step);
        let run = Self::open(path, file, lock, number)?;
        // After the segment's files: a manifest never names a segment that was not begun.
        run.file.write(path)?;
        Ok(Found {
            value: run,
            problems,
        })
    }

    fn open(
        path: &Path,
        file: RunFile,
        lock: FolderLock,
        number: u32,
    ) -> Result<Self, RecordError> {
        let steps = StepWriter::create(Log::Steps.path(path, number), &file.manifest.parameters)?;
        let incidents = IncidentWriter::create(Log::Incidents.path(path, number))?;
        sync_dir(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            steps,
            incidents,
            snapshots: SnapshotStore::new(path),
            _lock: lock,
        })
    }

    /// Keeps so many snapshots instead of [`SnapshotStore::KEEP`].
    pub fn keep_snapshots(mut self, keep: NonZeroUsize) -> Self {
        self.snapshots = self.snapshots.keep(keep);
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which run it is.
    pub fn manifest(&self) -> &Manifest {
        &self.file.manifest
    }

    /// Its snapshots, to list and read; to write one is [`write_snapshot`](Self::write_snapshot).
    pub fn snapshots(&self) -> &SnapshotStore {
        &self.snapshots
    }

    /// Appends one step. It survives the death of the process after 64 rows or the next
    /// [`flush`](Self::flush). When this fails, the row is kept and written with the next.
    pub fn push_step(&mut self, row: StepRecord) -> Result<(), RecordError> {
        let pushed = self.steps.push(row);
        self.located(pushed)
    }

    /// Appends one incident, and the rows before it unless an incident did so a moment ago.
    pub fn push_incident(&mut self, incident: &Incident) -> Result<(), RecordError> {
        let pushed = self.incidents.push(incident);
        let pushed = pushed.and_then(|()| self.steps.flush_early());
        self.located(pushed)
    }

    /// Everything pushed so far survives the death of the process when this returns.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        let flushed = self.steps.flush();
        self.located(flushed)
    }

    /// Everything pushed so far survives a power cut too when this returns.
    pub fn sync(&mut self) -> Result<(), RecordError> {
        let flushed = self.steps.flush();
        self.located(flushed.and_then(|()| sync_together(&self.to_sync())))
    }

    fn to_sync(&self) -> Vec<ToSync<'_>> {
        let steps = self.steps.to_sync().into_iter();
        steps.chain(self.incidents.to_sync()).collect()
    }

    /// Writes a snapshot. It counts when the rows before it have been synced too.
    ///
    /// # Errors
    /// Those of [`SnapshotStore::write`], and of [`flush`](Self::flush).
    pub fn write_snapshot(
        &mut self,
        snapshot: &Snapshot,
        non_finite: NonFinite,
    ) -> Result<SnapshotEntry, SnapshotError> {
        self.flush()?;
        self.snapshots
            .write_with(snapshot, non_finite, self.to_sync())
    }

    /// Writes what led to an incident into a folder of its own, and syncs the rows. The
    /// snapshot in it is the newest good one on the disk that is not later than the ring's first
    /// step, else `in_memory`.
    ///
    /// # Errors
    /// Those of [`write_snapshot`](Self::write_snapshot), but that broken weights are written.
    pub fn dump(
        &mut self,
        ring: &ForensicRing,
        incidents: &[Incident],
        in_memory: Option<&Snapshot>,
    ) -> Result<Dumped, SnapshotError> {
        self.flush()?;
        let incident = Fired {
            ring,
            incidents,
            in_memory,
        };
        forensics::dump(&self.path, &self.snapshots, incident, self.to_sync())
            .map_err(|error| error.with_last_good(|| self.snapshots.last_good()))
    }

    /// Writes what is pending and closes the run.
    pub fn finish(mut self, status: RunStatus) -> Result<(), RecordError> {
        self.file.manifest.status = status;
        let finished = self
            .steps
            .finish()
            .and_then(|()| sync_together(&self.to_sync()))
            .and_then(|()| self.file.write(&self.path));
        self.located(finished)
    }

    fn located<T>(&self, result: Result<T, RecordError>) -> Result<T, RecordError> {
        result.map_err(|error| error.with_last_good(|| self.snapshots.last_good()))
    }
}
