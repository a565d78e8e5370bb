//! The last steps before an incident. They are kept in memory and written when it fires, so that a
//! replay has what it needs.

use std::collections::VecDeque;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RecordError;
use super::disk::{
    NewFolder, ToSync, create_dir, link_or_copy, parent, remove_dir_all, rename, sync_dir,
    sync_together,
};
use super::problem::{Found, Problem};
use super::seal::{seal, unseal};
use super::snapshot::{
    FILES, FileSum, MANIFEST, NonFinite, Snapshot, SnapshotEntry, SnapshotError, SnapshotStore,
    read_folder, read_summed, write_files,
};
use super::steps::StepRecord;
use super::{FORMAT, steps};
use steadygrad::guard::Incident;

const RING: &str = "ring.json";
const SNAPSHOT: &str = "snapshot";
const PARTIAL: &str = ".partial";

/// One step in the ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingStep {
    /// The step's row in the record.
    pub record: StepRecord,
    /// The rows of the training data in its batch.
    pub rows: Vec<u64>,
    /// The state of the caller's random generators before the step.
    pub random_state: Value,
}

/// The last steps of a run. Keep it in a snapshot's state, so that a resumed run dumps the same
/// steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForensicRing {
    capacity: NonZeroUsize,
    steps: VecDeque<RingStep>,
}

impl Default for ForensicRing {
    fn default() -> Self {
        Self::new(Self::CAPACITY)
    }
}

impl ForensicRing {
    /// The default number of steps. Loss spikes follow their first sign by 1 to 8 steps
    /// (StableAdamW, arXiv 2304.13013); this is four times as much, and half a batch of rows.
    pub const CAPACITY: NonZeroUsize = NonZeroUsize::new(steps::ROWS_PER_BATCH / 2).unwrap();

    /// An empty ring for `capacity` steps.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            capacity,
            steps: VecDeque::new(),
        }
    }

    /// Adds one step. A full ring drops its oldest.
    pub fn push(&mut self, step: RingStep) {
        while self.steps.len() >= self.capacity.get() {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    /// The steps, the oldest first.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &RingStep> {
        self.steps.iter()
    }

    /// Drops all steps. After a rollback the next step does not follow the last.
    pub fn clear(&mut self) {
        self.steps.clear();
    }
}

/// The result of a request for a dump.
#[derive(Debug, Clone, PartialEq)]
pub enum Dumped {
    /// It was written.
    Written {
        /// `steadygrad replay RUN --incident` takes this number.
        number: u32,
        /// Its folder.
        path: PathBuf,
        /// The step of the snapshot in it. `None` if no snapshot existed.
        snapshot_step: Option<u64>,
        /// Snapshots that could not be used.
        problems: Vec<Problem>,
    },
    /// The same dump exists: the run was resumed and met the incident again.
    Already {
        /// The number of the existing dump.
        number: u32,
    },
    /// The run has its largest number of dumps. A run with endless alarms must not fill the disk.
    LimitReached {
        /// The number of dumps.
        limit: usize,
    },
}

/// The largest number of dumps of a run. Each may hold the only link to a snapshot, so the dumps
/// together take the space of this number of snapshots at most.
pub(super) const LIMIT: usize = 16;

/// A dump, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Dump {
    /// Its number.
    pub number: u32,
    /// The incident.
    pub incidents: Vec<Incident>,
    /// The steps before it, the oldest first.
    pub steps: Vec<RingStep>,
    /// The state from which to replay the steps. `None` if none was written, or none is intact.
    pub snapshot: Option<Snapshot>,
}

/// `ring.json`.
#[derive(Serialize, Deserialize)]
struct RingFile {
    incidents: Vec<Incident>,
    steps: Vec<RingStep>,
}

/// `manifest.json`.
#[derive(Serialize, Deserialize)]
struct DumpManifest {
    format: u32,
    ring: FileSum,
    /// The snapshot's manifest, which holds the checksums of its other files.
    snapshot: Option<FileSum>,
}

fn folder(run: &Path) -> PathBuf {
    run.join("incidents")
}

fn dump_path(run: &Path, number: u32) -> PathBuf {
    folder(run).join(format!("{number:04}"))
}

/// The numbers of the dumps in a run directory, in order.
///
/// # Errors
/// [`RecordError::Io`] if their folder exists and cannot be listed.
pub fn list_dumps(run: &Path) -> Result<Vec<u32>, RecordError> {
    let folder = folder(run);
    let io = |source| RecordError::io("list", &folder, source);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(io)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The content of a dump.
pub(super) struct Fired<'a> {
    pub(super) ring: &'a ForensicRing,
    pub(super) incidents: &'a [Incident],
    pub(super) in_memory: Option<&'a Snapshot>,
}

/// Writes a dump: under another name, synced together with `others`, then renamed.
pub(super) fn dump(
    run: &Path,
    store: &SnapshotStore,
    incident: Fired<'_>,
    others: Vec<ToSync<'_>>,
) -> Result<Dumped, SnapshotError> {
    let Fired {
        ring,
        incidents,
        in_memory,
    } = incident;
    let file = RingFile {
        incidents: incidents.to_vec(),
        steps: ring.steps().cloned().collect(),
    };
    let bytes = json(&run.join(RING), &file)?;
    let sum = FileSum::of(&bytes);
    let numbers = list_dumps(run)?;
    let same = |number: &&u32| {
        read_manifest(&dump_path(run, **number)).is_ok_and(|manifest| manifest.ring == sum)
    };
    if let Some(&number) = numbers.iter().find(same) {
        return Ok(Dumped::Already { number });
    }
    if numbers.len() >= LIMIT {
        return Ok(Dumped::LimitReached { limit: LIMIT });
    }
    let number = numbers.last().map_or(1, |last| last.saturating_add(1));
    let path = dump_path(run, number);
    let partial = path.with_extension("partial");
    let first_step = ring.steps.front().map(|step| step.record.step);
    let Found {
        value: source,
        problems,
    } = source(store, first_step, in_memory)?;
    prepare(run)?;
    let new = NewFolder::create(partial.clone())?;
    let written = write_into(new, &bytes, sum, &source, others).and_then(|()| {
        rename(&partial, &path)?;
        Ok(sync_dir(parent(&path))?)
    });
    if let Err(error) = written {
        // Frees the space. If this fails, the next dump tries it first.
        let _ = remove_dir_all(&partial);
        return Err(error);
    }
    Ok(Dumped::Written {
        number,
        path,
        snapshot_step: match source {
            Source::Disk(entry) => Some(entry.step),
            Source::Memory(snapshot) => Some(snapshot.step),
            Source::None => None,
        },
        problems,
    })
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec_pretty(value).map_err(|source| RecordError::json(path, source))
}

/// The source of a dump's snapshot.
enum Source<'a> {
    Disk(SnapshotEntry),
    Memory(&'a Snapshot),
    None,
}

fn source<'a>(
    store: &SnapshotStore,
    first_step: Option<u64>,
    in_memory: Option<&'a Snapshot>,
) -> Result<Found<Source<'a>>, RecordError> {
    let before = store.newest_good_entry(first_step)?;
    let fits = |snapshot: &Snapshot| first_step.is_none_or(|first| snapshot.step <= first);
    let value = match (before.value, in_memory) {
        (Some((entry, _)), Some(later)) if later.step > entry.step && fits(later) => {
            Source::Memory(later)
        }
        (Some((entry, _)), _) => Source::Disk(entry),
        (None, Some(snapshot)) => Source::Memory(snapshot),
        (None, None) => Source::None,
    };
    let problems = before.problems;
    Ok(Found { value, problems })
}

/// Opens the folder and removes what a killed process or a failed write left in it.
fn prepare(run: &Path) -> Result<(), RecordError> {
    let folder = folder(run);
    if !folder.is_dir() {
        create_dir(&folder)?;
        return sync_dir(run);
    }
    let io = |source| RecordError::io("list", &folder, source);
    for entry in fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.to_string_lossy().ends_with(PARTIAL) {
            remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn write_into(
    mut folder: NewFolder,
    ring_bytes: &[u8],
    ring: FileSum,
    source: &Source<'_>,
    others: Vec<ToSync<'_>>,
) -> Result<(), SnapshotError> {
    folder.write(RING, ring_bytes)?;
    let path = folder.path().join(SNAPSHOT);
    let inner = match source {
        Source::None => None,
        Source::Disk(_) | Source::Memory(_) => Some(write_snapshot(path, source)?),
    };
    let (inner, snapshot) = inner.unzip();
    let manifest = DumpManifest {
        format: FORMAT,
        ring,
        snapshot,
    };
    let bytes = seal(&manifest)
        .map_err(|source| RecordError::json(&folder.path().join(MANIFEST), source))?;
    folder.write(MANIFEST, &bytes)?;
    let mut all = folder.to_sync();
    all.extend(inner.iter().flat_map(NewFolder::to_sync));
    all.extend(others);
    Ok(sync_together(&all)?)
}

/// Writes the snapshot's folder. Returns it with the length and checksum of its manifest.
fn write_snapshot(
    path: PathBuf,
    source: &Source<'_>,
) -> Result<(NewFolder, FileSum), SnapshotError> {
    let mut folder = NewFolder::create(path)?;
    match source {
        Source::Disk(entry) => {
            for name in FILES {
                link_or_copy(&entry.path.join(name), &folder.path().join(name))?;
            }
        }
        Source::Memory(snapshot) => write_files(&mut folder, snapshot, NonFinite::Allow)?,
        Source::None => {}
    }
    let path = folder.path().join(MANIFEST);
    let bytes = fs::read(&path).map_err(|source| RecordError::io("read", &path, source))?;
    Ok((folder, FileSum::of(&bytes)))
}

fn read_manifest(folder: &Path) -> Result<DumpManifest, Problem> {
    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|error| Problem::refused(&path, &error))?;
    let manifest: DumpManifest = unseal(&bytes).map_err(|what| Problem::new(&path, what))?;
    match manifest.format {
        FORMAT => Ok(manifest),
        other => Err(Problem::malformed(
            &path,
            format!("it has layout {other}, this steadygrad reads {FORMAT}"),
        )),
    }
}

/// Reads and verifies dump `number` of a run directory. If its snapshot is damaged, the run's
/// newest good snapshot that is not later than the first step replaces it, and a problem says so.
///
/// # Errors
/// [`RecordError::Damaged`] when the steps cannot be read.
pub fn read_dump(run: &Path, number: u32) -> Result<Found<Dump>, RecordError> {
    let folder = dump_path(run, number);
    let manifest = read_manifest(&folder).map_err(RecordError::Damaged)?;
    let path = folder.join(RING);
    let bytes = read_summed(&path, &manifest.ring).map_err(RecordError::Damaged)?;
    let ring: RingFile = serde_json::from_slice(&bytes)
        .map_err(|error| RecordError::Damaged(Problem::malformed(&path, error)))?;
    let mut problems = Vec::new();
    let mut snapshot = None;
    if let Some(sum) = &manifest.snapshot {
        let inner = folder.join(SNAPSHOT);
        let read = read_summed(&inner.join(MANIFEST), sum).and_then(|_| read_folder(&inner));
        match read {
            Ok(read) => snapshot = Some(read),
            Err(problem) => {
                problems.push(problem);
                let first_step = ring.steps.first().map(|step| step.record.step);
                let found = SnapshotStore::new(run).newest_good(first_step)?;
                problems.extend(found.problems);
                snapshot = found.value;
            }
        }
    }
    let value = Dump {
        number,
        incidents: ring.incidents,
        steps: ring.steps,
        snapshot,
    };
    Ok(Found { value, problems })
}
