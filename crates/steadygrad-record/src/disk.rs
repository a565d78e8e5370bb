//! Every change to the disk is made here, so that all of them name the file, say what a full disk
//! means, and can be made to fail one by one in tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

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
    sync_together(&[ToSync::Names(path)])
}

/// Something that is to survive a power cut.
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
            // Only Unix opens a folder as a file; elsewhere the names are the file system's to keep.
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

/// Syncs, all at the same time: a disk takes as long for many as for one, where one after the other
/// eight took 40 ms and together 3 ms (ext4 on a virtual disk, 2 cores).
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
                // No thread to be had.
                Err(_) => item.sync(),
            };
            result = result.and(item.named(synced));
        }
        result
    })
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
}

/// A folder that is being written, to be renamed when all of it is on the disk.
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

    /// Takes a file of this folder that has all its bytes.
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

    /// The folder and its files.
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
    }

    /// Removes what was appended and not committed.
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

/// Stands before every operation that is neither a write nor a sync.
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

    /// What is to go wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Plan {
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

    /// A power cut before a sync: half of a file that was never synced is lost. What grows was
    /// synced before, and its end is vouched for by checksums, so that it may stay.
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
