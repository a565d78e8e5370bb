//! Every change to the disk. Each names its file in errors, explains a full disk, and can be made
//! to fail in tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

use xxhash_rust::xxh3::Xxh3;

use super::RecordError;

/// Bytes that are collected for one system call. Larger pieces pass through.
const BUFFER: usize = 1 << 16;

/// Creates one folder in an existing folder.
pub(super) fn create_dir(path: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::create_dir(path))
        .map_err(|source| RecordError::io("create the folder", path, source))
}

/// Creates a folder and its parents.
pub(super) fn create_dir_all(path: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::create_dir_all(path))
        .map_err(|source| RecordError::io("create the folder", path, source))
}

/// Gives a file or folder its final name, in one step: no reader ever sees half of it.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::rename(from, to))
        .map_err(|source| RecordError::io("write", to, source))
}

/// Syncs the names in a folder, so that new and changed names survive a power cut.
pub(super) fn sync_dir(path: &Path) -> Result<(), RecordError> {
    sync_together(&[ToSync::Names(path)])
}

/// Something that must survive a power cut.
pub(super) enum ToSync<'a> {
    /// A file's bytes.
    Bytes(&'a Path, &'a Handle),
    /// The names in a folder.
    Names(&'a Path),
}

impl ToSync<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Bytes(path, _) | Self::Names(path) => path,
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self {
            Self::Bytes(_, file) => file.0.sync_all(),
            // Only Unix opens a folder as a file. Elsewhere the file system keeps the names.
            #[cfg(unix)]
            Self::Names(path) => File::open(path)?.sync_all(),
            #[cfg(not(unix))]
            Self::Names(_) => Ok(()),
        }
    }

    fn named(&self, result: io::Result<()>) -> Result<(), RecordError> {
        result.map_err(|source| RecordError::io("sync", self.path(), source))
    }
}

/// Syncs all entries at the same time. Eight took 3 ms together and 40 ms one after the other (ext4
/// on a virtual disk, 2 cores).
pub(super) fn sync_together(items: &[ToSync<'_>]) -> Result<(), RecordError> {
    #[cfg(test)]
    for item in items {
        item.named(fault::before_sync(item))?;
    }
    let Some((last, others)) = items.split_last() else {
        return Ok(());
    };
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|item| {
                (
                    item,
                    thread::Builder::new().spawn_scoped(scope, || item.sync()),
                )
            })
            .collect();
        let mut result = last.named(last.sync());
        for (item, thread) in others {
            let synced = match thread {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("the thread that syncs died"))),
                // The system gave no thread.
                Err(_) => item.sync(),
            };
            result = result.and(item.named(synced));
        }
        result
    })
}

/// Removes a folder and its content.
pub(super) fn remove_dir_all(path: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::remove_dir_all(path))
        .map_err(|source| RecordError::io("remove", path, source))
}

/// Gives a file a second name (a hard link), or copies it where the file system has no links.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::hard_link(from, to))
        .or_else(|_| {
            step()?;
            fs::copy(from, to)?;
            File::open(to)?.sync_all()
        })
        .map_err(|source| RecordError::io("write", to, source))
}

/// The length and checksum of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sum: u64,
}

/// A file that is being written for the first time.
pub(super) struct NewFile {
    path: PathBuf,
    file: BufWriter<Handle>,
    hash: Xxh3,
    bytes: u64,
}

impl NewFile {
    pub(super) fn create(path: PathBuf) -> Result<Self, RecordError> {
        let file = step()
            .and_then(|()| File::create_new(&path))
            .map_err(|source| RecordError::io("create", &path, source))?;
        Ok(Self {
            path,
            file: BufWriter::with_capacity(BUFFER, Handle(file)),
            hash: Xxh3::new(),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.hash.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.file
            .write_all(bytes)
            .map_err(|source| RecordError::io("write", &self.path, source))
    }
}

/// A folder under a temporary name. It gets its final name once all of it is on the disk.
pub(super) struct NewFolder {
    path: PathBuf,
    files: Vec<(PathBuf, Handle)>,
}

impl NewFolder {
    pub(super) fn create(path: PathBuf) -> Result<Self, RecordError> {
        create_dir(&path)?;
        Ok(Self {
            path,
            files: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Registers a complete file of this folder.
    pub(super) fn add(&mut self, file: NewFile) -> Result<Written, RecordError> {
        let NewFile {
            path,
            file,
            hash,
            bytes,
        } = file;
        let handle = file
            .into_inner()
            .map_err(|error| RecordError::io("write", &path, error.into_error()))?;
        self.files.push((path, handle));
        let sum = hash.digest();
        Ok(Written { bytes, sum })
    }

    /// Writes one file.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<Written, RecordError> {
        let mut file = NewFile::create(self.path.join(name))?;
        file.write(bytes)?;
        self.add(file)
    }

    /// The folder and its files, to be synced.
    pub(super) fn to_sync(&self) -> Vec<ToSync<'_>> {
        let files = self.files.iter();
        files
            .map(|(path, file)| ToSync::Bytes(path, file))
            .chain([ToSync::Names(&self.path)])
            .collect()
    }
}

/// Writes a file whole or not at all: to a temporary file beside it, synced, then renamed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = step()
        .and_then(|()| File::create(&partial))
        .and_then(|file| {
            let mut file = Handle(file);
            file.write_all(bytes)?;
            Ok(file)
        })
        .map_err(|source| RecordError::io("write", path, source))
        .and_then(|file| sync_together(&[ToSync::Bytes(path, &file)]))
        .and_then(|()| rename(&partial, path));
    if let Err(error) = written {
        // Best effort: the caller must see the first error.
        let _ = step().and_then(|()| fs::remove_file(&partial));
        return Err(error);
    }
    sync_dir(parent(path))
}

/// The parent folder of a path.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file that only grows. Only the rest of a failed write is ever cut off.
pub(super) struct Appended {
    path: PathBuf,
    file: Handle,
    length: u64,
}

impl Appended {
    pub(super) fn create(path: PathBuf) -> Result<Self, RecordError> {
        let file = step()
            .and_then(|()| OpenOptions::new().append(true).create_new(true).open(&path))
            .map_err(|source| RecordError::io("create", &path, source))?;
        Ok(Self {
            path,
            file: Handle(file),
            length: 0,
        })
    }

    /// The position of the next byte, counting committed bytes only (see [`commit`](Self::commit)).
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.file
            .write_all(bytes)
            .map_err(|source| RecordError::io("append to", &self.path, source))
    }

    /// Marks the appended bytes as permanent.
    pub(super) fn commit(&mut self, bytes: usize) {
        self.length = self.length.saturating_add(bytes as u64);
    }

    /// Removes appended bytes that were not committed.
    pub(super) fn cut_back(&mut self) -> Result<(), RecordError> {
        step()
            .and_then(|()| self.file.0.set_len(self.length))
            .map_err(|source| RecordError::io("mend", &self.path, source))
    }

    pub(super) fn to_sync(&self) -> ToSync<'_> {
        ToSync::Bytes(&self.path, &self.file)
    }
}

/// A file whose writes tests can make fail.
pub(super) struct Handle(File);

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(strike) = fault::at_write() {
            if strike == fault::Strike::Now {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                self.0.write_all(half)?;
            }
            return Err(strike.error());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Called before every operation that is neither a write nor a sync.
fn step() -> io::Result<()> {
    #[cfg(test)]
    fault::step()?;
    Ok(())
}

/// Makes the operations of this thread fail, for tests.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::Cell;
    use std::io;

    use super::ToSync;

    /// The failure to provoke.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Plan {
        /// No failure.
        Well,
        /// This number of operations succeeds. The process dies in the next.
        Crash(usize),
        /// This number of writes succeeds. Then the disk is full.
        Full(usize),
    }

    /// Whether an operation fails: the first one, or any after it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Strike {
        Now,
        After,
    }

    impl Strike {
        pub(super) fn error(self) -> io::Error {
            match PLAN.get() {
                Plan::Full(_) => io::Error::from(io::ErrorKind::StorageFull),
                Plan::Well | Plan::Crash(_) => io::Error::other("the process is dead"),
            }
        }
    }

    thread_local! {
        static PLAN: Cell<Plan> = const { Cell::new(Plan::Well) };
        static DONE: Cell<usize> = const { Cell::new(0) };
    }

    /// Runs `run` under a plan. Returns whether the plan's failure happened.
    pub(crate) fn under<T>(plan: Plan, run: impl FnOnce() -> T) -> (T, bool) {
        PLAN.set(plan);
        DONE.set(0);
        let result = run();
        let struck = match plan {
            Plan::Well => false,
            Plan::Crash(limit) | Plan::Full(limit) => DONE.get() > limit,
        };
        PLAN.set(Plan::Well);
        (result, struck)
    }

    fn count(limit: usize) -> Option<Strike> {
        let before = DONE.get();
        DONE.set(before + 1);
        match before.cmp(&limit) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(Strike::Now),
            std::cmp::Ordering::Greater => Some(Strike::After),
        }
    }

    pub(super) fn at_write() -> Option<Strike> {
        match PLAN.get() {
            Plan::Well => None,
            Plan::Crash(limit) | Plan::Full(limit) => count(limit),
        }
    }

    fn at_step() -> Option<Strike> {
        match PLAN.get() {
            Plan::Well | Plan::Full(_) => None,
            Plan::Crash(limit) => count(limit),
        }
    }

    pub(super) fn step() -> io::Result<()> {
        at_step().map_or(Ok(()), |strike| Err(strike.error()))
    }

    /// Imitates a power cut before a sync: half of a file that was never synced is lost. A file
    /// that grows was synced before, and checksums cover its end, so it stays.
    pub(super) fn before_sync(item: &ToSync<'_>) -> io::Result<()> {
        let Some(strike) = at_step() else {
            return Ok(());
        };
        if let (Strike::Now, ToSync::Bytes(path, file)) = (strike, item)
            && !path.to_string_lossy().contains("steps")
            && !path.to_string_lossy().contains("incidents.jsonl")
        {
            let length = file.0.metadata()?.len();
            file.0.set_len(length / 2)?;
        }
        Err(strike.error())
    }
}
