//! Every change to the disk is made here, so that all of them name the file, say what a full disk
//! means, and can be made to fail one by one in tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::RecordError;

/// One system call for many small tensors; larger pieces pass through.
const BUFFER: usize = 1 << 16;

/// Creates one folder, in one that exists.
pub(super) fn create_dir(path: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::create_dir(path))
        .map_err(|source| RecordError::io("create the folder", path, source))
}

/// Creates a folder and those above it.
pub(super) fn create_dir_all(path: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::create_dir_all(path))
        .map_err(|source| RecordError::io("create the folder", path, source))
}

/// Gives a file or folder its final name. Whoever looks sees it before or after, never half.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::rename(from, to))
        .map_err(|source| RecordError::io("write", to, source))
}

/// Makes names that were created or changed in a folder last.
pub(super) fn sync_dir(path: &Path) -> Result<(), RecordError> {
    // Only Unix opens a folder as a file; elsewhere the names are the file system's to keep.
    #[cfg(unix)]
    step()
        .and_then(|()| File::open(path)?.sync_all())
        .map_err(|source| RecordError::io("sync the folder", path, source))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Removes a folder and what is in it.
pub(super) fn remove_dir_all(path: &Path) -> Result<(), RecordError> {
    step()
        .and_then(|()| fs::remove_dir_all(path))
        .map_err(|source| RecordError::io("remove", path, source))
}

/// The same file under a second name where the file system can, else a copy.
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

/// How long a file is and what its checksum is.
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

    /// The file is on the disk when this returns; its name is when its folder has been synced.
    pub(super) fn finish(mut self) -> Result<Written, RecordError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_whole())
            .map_err(|source| RecordError::io("write", &self.path, source))?;
        Ok(Written {
            bytes: self.bytes,
            sum: self.hash.digest(),
        })
    }
}

/// Writes one new file and syncs it.
pub(super) fn write_new(path: PathBuf, bytes: &[u8]) -> Result<Written, RecordError> {
    let mut file = NewFile::create(path)?;
    file.write(bytes)?;
    file.finish()
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
            file.sync_whole()
        })
        .map_err(|source| RecordError::io("write", path, source))
        .and_then(|()| rename(&partial, path));
    if let Err(error) = written {
        // Best effort: the error is what the caller must see.
        let _ = step().and_then(|()| fs::remove_file(&partial));
        return Err(error);
    }
    sync_dir(parent(path))
}

/// The folder a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file that only ever grows, but for cutting off what a failed write left at its end.
pub(super) struct Appended {
    path: PathBuf,
    file: Handle,
    length: u64,
    synced: bool,
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
            synced: true,
        })
    }

    /// Where the next byte goes, once [`commit`](Self::commit) was told of those before it.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.file
            .write_all(bytes)
            .map_err(|source| RecordError::io("append to", &self.path, source))
    }

    /// Counts appended bytes as there to stay.
    pub(super) fn commit(&mut self, bytes: usize) {
        self.length = self.length.saturating_add(bytes as u64);
        self.synced = false;
    }

    /// Removes what was appended and not committed.
    pub(super) fn cut_back(&mut self) -> Result<(), RecordError> {
        step()
            .and_then(|()| self.file.0.set_len(self.length))
            .map_err(|source| RecordError::io("mend", &self.path, source))
    }

    pub(super) fn sync(&mut self) -> Result<(), RecordError> {
        if !self.synced {
            step()
                .and_then(|()| self.file.0.sync_data())
                .map_err(|source| RecordError::io("sync", &self.path, source))?;
            self.synced = true;
        }
        Ok(())
    }
}

/// A file whose writes tests can make fail.
struct Handle(File);

impl Handle {
    fn sync_whole(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(strike) = fault::at_sync() {
            if strike == fault::Strike::Now {
                // A power cut: what was not synced may be lost.
                let length = self.0.metadata()?.len();
                self.0.set_len(length / 2)?;
            }
            return Err(strike.error());
        }
        self.0.sync_all()
    }
}

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

/// Stands before every operation that is not a write.
fn step() -> io::Result<()> {
    #[cfg(test)]
    if let Some(strike) = fault::at_sync() {
        return Err(strike.error());
    }
    Ok(())
}

/// Makes the operations of this thread fail, for tests.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::Cell;
    use std::io;

    /// What is to go wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::record) enum Plan {
        /// Nothing.
        Well,
        /// So many operations succeed; in the next the process dies, and nothing happens after.
        Crash(usize),
        /// So many writes succeed; then there is no space for any more.
        Full(usize),
    }

    /// Which operation is struck: the one in which it happens, or one after it.
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

    /// Runs something under a plan and says whether the plan struck.
    pub(in crate::record) fn under<T>(plan: Plan, run: impl FnOnce() -> T) -> (T, bool) {
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

    pub(super) fn at_sync() -> Option<Strike> {
        match PLAN.get() {
            Plan::Well | Plan::Full(_) => None,
            Plan::Crash(limit) => count(limit),
        }
    }
}
