//! The ring of snapshots in a run directory.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::files::{SnapshotManifest, read_folder, write_files};
use super::{NonFinite, Snapshot, SnapshotError};
use crate::disk::{
    NewFolder, ToSync, create_dir, parent, remove_dir_all, rename, sync_dir, sync_together,
};
use crate::problem::{Damage, Found, Problem};
use crate::{LastGood, RecordError};

/// The endings of a folder that is being written, and of one that is being removed.
const PARTIAL: &str = ".partial";
const REMOVED: &str = ".removed";

/// The snapshots of a run: the folder `snapshots` of its directory.
///
/// The newest snapshot is the one written last, not the one of the highest step. After a rollback
/// the undone steps must not win over the later ones.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    folder: PathBuf,
    keep: NonZeroUsize,
}

/// One snapshot on the disk. Only reading it shows whether it is intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Its place in the order of writing.
    pub sequence: u64,
    /// The step that would run next.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
}

impl SnapshotEntry {
    fn of(path: PathBuf) -> Option<Self> {
        let (sequence, step) = path.file_name()?.to_str()?.split_once("-step-")?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            step: step.parse().ok()?,
            path,
        })
    }
}

impl SnapshotStore {
    /// The default number of snapshots. A growing fault may be in the newest, and the disk may
    /// damage one more: three leave one to go back to.
    pub const KEEP: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    /// The snapshots of the run in `run`. Touches nothing; the folder may not exist yet.
    pub fn new(run: &Path) -> Self {
        Self {
            folder: run.join("snapshots"),
            keep: Self::KEEP,
        }
    }

    /// Keeps `keep` snapshots.
    pub fn keep(mut self, keep: NonZeroUsize) -> Self {
        self.keep = keep;
        self
    }

    /// All snapshots, in the order of writing.
    ///
    /// # Errors
    /// [`RecordError::Io`] if the folder exists and cannot be listed.
    pub fn list(&self) -> Result<Vec<SnapshotEntry>, RecordError> {
        let mut entries: Vec<_> = self
            .names()?
            .into_iter()
            .filter_map(SnapshotEntry::of)
            .collect();
        entries.sort_by_key(|entry| (entry.sequence, entry.step));
        Ok(entries)
    }

    fn names(&self) -> Result<Vec<PathBuf>, RecordError> {
        let io = |source| RecordError::io("list", &self.folder, source);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(error)),
        };
        entries.map(|entry| Ok(entry.map_err(io)?.path())).collect()
    }

    /// Reads and verifies one snapshot, finite or not.
    ///
    /// # Errors
    /// The [`Problem`] with it.
    pub fn read(&self, entry: &SnapshotEntry) -> Result<Snapshot, Problem> {
        let snapshot = read_folder(&entry.path)?;
        if snapshot.step == entry.step {
            Ok(snapshot)
        } else {
            let reason = format!("it is of step {}, its name says another", snapshot.step);
            Err(Problem::malformed(&entry.path, reason))
        }
    }

    /// The newest intact and finite snapshot whose step is at most `at_or_before`, with the
    /// snapshots that were passed over and why. `None` if there is no such snapshot.
    ///
    /// # Errors
    /// [`RecordError::Io`] if the folder exists and cannot be listed.
    pub fn newest_good(
        &self,
        at_or_before: Option<u64>,
    ) -> Result<Found<Option<Snapshot>>, RecordError> {
        let found = self.newest_good_entry(at_or_before)?;
        Ok(Found {
            value: found.value.map(|(_, snapshot)| snapshot),
            problems: found.problems,
        })
    }

    pub(crate) fn newest_good_entry(
        &self,
        at_or_before: Option<u64>,
    ) -> Result<Found<Option<(SnapshotEntry, Snapshot)>>, RecordError> {
        let mut problems = Vec::new();
        let entries = self.list()?;
        let eligible = entries
            .into_iter()
            .rev()
            .filter(|entry| at_or_before.is_none_or(|limit| entry.step <= limit));
        for entry in eligible {
            match self.read_finite(&entry) {
                Ok(snapshot) => {
                    let value = Some((entry, snapshot));
                    return Ok(Found { value, problems });
                }
                Err(problem) => problems.push(problem),
            }
        }
        let value = None;
        Ok(Found { value, problems })
    }

    fn read_finite(&self, entry: &SnapshotEntry) -> Result<Snapshot, Problem> {
        match SnapshotManifest::read(&entry.path)?.non_finite {
            0 => self.read(entry),
            count => Err(Problem::new(&entry.path, Damage::NonFinite { count })),
        }
    }

    /// The state from which a run can go on. `None` if there is none, or if reading fails.
    pub(crate) fn last_good(&self) -> Option<LastGood> {
        let (entry, _) = self.newest_good_entry(None).ok()?.value?;
        Some(LastGood {
            step: entry.step,
            path: entry.path,
        })
    }

    /// Writes a snapshot under a temporary name, syncs and renames it, then removes the oldest.
    ///
    /// Once this returns, the snapshot survives a power cut. If it fails, the earlier snapshots are
    /// untouched.
    ///
    /// # Errors
    /// [`SnapshotError::NonFinite`] unless allowed; [`SnapshotError::Shape`], `Name` and `State` if
    /// it could not be read back; [`SnapshotError::Record`] if the disk fails.
    pub fn write(
        &self,
        snapshot: &Snapshot,
        non_finite: NonFinite,
    ) -> Result<SnapshotEntry, SnapshotError> {
        self.write_with(snapshot, non_finite, Vec::new())
    }

    /// Like [`write`](Self::write). Also syncs `others` before the snapshot gets its name.
    pub(crate) fn write_with(
        &self,
        snapshot: &Snapshot,
        non_finite: NonFinite,
        others: Vec<ToSync<'_>>,
    ) -> Result<SnapshotEntry, SnapshotError> {
        self.try_write(snapshot, non_finite, others)
            .map_err(|error| error.with_last_good(|| self.last_good()))
    }

    fn try_write(
        &self,
        snapshot: &Snapshot,
        non_finite: NonFinite,
        others: Vec<ToSync<'_>>,
    ) -> Result<SnapshotEntry, SnapshotError> {
        self.prepare()?;
        let sequence = self
            .list()?
            .last()
            .map_or(1, |last| last.sequence.saturating_add(1));
        let step = snapshot.step;
        let name = format!("{sequence:06}-step-{step}");
        let partial = self.folder.join(format!("{name}{PARTIAL}"));
        let path = self.folder.join(name);
        let mut new = NewFolder::create(partial.clone())?;
        let written = write_files(&mut new, snapshot, non_finite).and_then(|()| {
            let mut all = new.to_sync();
            all.extend(others);
            sync_together(&all)?;
            drop(all);
            // The files are closed first: not every system renames a folder with open files.
            drop(new);
            rename(&partial, &path)?;
            Ok(sync_dir(&self.folder)?)
        });
        if let Err(error) = written {
            // Frees the space. If this fails, the next write tries it first.
            let _ = remove_dir_all(&partial);
            return Err(error);
        }
        // The new snapshot is safe, even if removing an old one fails.
        let _ = self.prune();
        Ok(SnapshotEntry {
            sequence,
            step,
            path,
        })
    }

    /// Opens the folder and removes what a killed process or a failed write left in it.
    fn prepare(&self) -> Result<(), RecordError> {
        if !self.folder.is_dir() {
            create_dir(&self.folder)?;
            sync_dir(parent(&self.folder))?;
        }
        for path in self.names()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(PARTIAL) || name.ends_with(REMOVED) {
                remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    /// Removes every snapshot with `keep` newer ones, if it is broken or has `keep` newer finite
    /// ones. Broken snapshots then never push out the last good one, and never pile up.
    fn prune(&self) -> Result<(), RecordError> {
        let keep = self.keep.get();
        let mut good = 0;
        for (newer, entry) in self.list()?.into_iter().rev().enumerate() {
            let is_good =
                SnapshotManifest::read(&entry.path).is_ok_and(|manifest| manifest.non_finite == 0);
            if newer >= keep && (good >= keep || !is_good) {
                let mut removed = entry.path.clone().into_os_string();
                removed.push(REMOVED);
                let removed = PathBuf::from(removed);
                // Renamed first, so that a half-removed folder does not look damaged.
                rename(&entry.path, &removed)?;
                remove_dir_all(&removed)?;
            }
            good += usize::from(is_good);
        }
        Ok(())
    }
}
