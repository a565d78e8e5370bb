//! The writer of a run directory.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::RecordError;
use super::disk::{ToSync, create_dir_all, sync_dir, sync_together};
use super::folder_lock::{FolderLock, is_held};
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

/// Whether a living process has this run directory open for writing.
///
/// `None` if that cannot be known, for example on a network file system without locks.
pub fn has_writer(run: &Path) -> Option<bool> {
    is_held(run, LOCK)
}

/// A run directory that is open for writing, by one process at a time.
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
    /// [`RecordError::NotEmpty`] if the folder is not empty, [`RecordError::Io`] if it cannot be
    /// created or written.
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

    /// Opens a run to continue it at `next_step`, the step of its snapshot (0 without one).
    ///
    /// New rows and incidents go into new segments. Of the earlier files only `run.json` changes:
    /// it says `Running` again.
    ///
    /// # Errors
    /// [`RecordError::InUse`] while another process writes the run, [`RecordError::Damaged`] if
    /// neither
    /// `run.json` nor its previous version is intact.
    pub fn resume(path: &Path, next_step: u64) -> Result<Found<Self>, RecordError> {
        // Checked before the lock as well, so that no lock file stays in a foreign folder.
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
        // Written after the segment's files, so that a manifest never names a segment without
        // files.
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

    /// Keeps `keep` snapshots instead of [`SnapshotStore::KEEP`].
    pub fn keep_snapshots(mut self, keep: NonZeroUsize) -> Self {
        self.snapshots = self.snapshots.keep(keep);
        self
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.file.manifest
    }

    /// The run's snapshots, for reading. [`write_snapshot`](Self::write_snapshot) writes one.
    pub fn snapshots(&self) -> &SnapshotStore {
        &self.snapshots
    }

    /// Appends one step. It survives a killed process after 64 rows or the next
    /// [`flush`](Self::flush). If this fails, the row is kept and written with the next.
    pub fn push_step(&mut self, row: StepRecord) -> Result<(), RecordError> {
        let pushed = self.steps.push(row);
        self.located(pushed)
    }

    /// Appends one incident. It writes the rows before it too, at most once in a few rows.
    pub fn push_incident(&mut self, incident: &Incident) -> Result<(), RecordError> {
        let pushed = self.incidents.push(incident);
        let pushed = pushed.and_then(|()| self.steps.flush_early());
        self.located(pushed)
    }

    /// Writes everything so far. It then survives a killed process.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        let flushed = self.steps.flush();
        self.located(flushed)
    }

    /// Writes and syncs everything so far. It then survives a power cut.
    pub fn sync(&mut self) -> Result<(), RecordError> {
        let flushed = self.steps.flush();
        self.located(flushed.and_then(|()| sync_together(&self.to_sync())))
    }

    fn to_sync(&self) -> Vec<ToSync<'_>> {
        let steps = self.steps.to_sync().into_iter();
        steps.chain(self.incidents.to_sync()).collect()
    }

    /// Writes a snapshot, after syncing the rows before it.
    ///
    /// # Errors
    /// The errors of [`SnapshotStore::write`] and of [`flush`](Self::flush).
    pub fn write_snapshot(
        &mut self,
        snapshot: &Snapshot,
        non_finite: NonFinite,
    ) -> Result<SnapshotEntry, SnapshotError> {
        self.flush()?;
        self.snapshots
            .write_with(snapshot, non_finite, self.to_sync())
    }

    /// Writes the steps before an incident into a folder of its own, and syncs the rows.
    ///
    /// Its snapshot is the newest good one on the disk that is not later than the ring's first
    /// step, else `in_memory`.
    ///
    /// # Errors
    /// The errors of [`write_snapshot`](Self::write_snapshot), except that non-finite weights are
    /// written.
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

    /// Writes all pending rows and closes the run.
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
