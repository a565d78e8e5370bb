//! A lock on a folder, so that one process writes to it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process;

use super::RecordError;

/// A lock on a folder for as long as this value lives. The system releases it if the process dies.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    /// The process that took the lock.
    process: u32,
}

impl FolderLock {
    /// Locks `folder` by the file `name` in it, which stays there.
    ///
    /// Some network file systems have no locks. There the lock always succeeds.
    ///
    /// # Errors
    /// [`RecordError::InUse`] while another process or guard holds it, [`RecordError::Io`] if the
    /// file cannot be opened.
    pub fn acquire(folder: &Path, name: &str) -> Result<Self, RecordError> {
        let path = folder.join(name);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| RecordError::io("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RecordError::InUse {
                    path: folder.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => {
                return Err(RecordError::io("lock", &path, source));
            }
        }
        Ok(Self {
            file,
            process: process::id(),
        })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A forked process holds the file as well. Closing it there must not release the lock here.
        if process::id() == self.process {
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    /// The lock as a forked process holds it.
    fn forked(lock: &FolderLock) -> FolderLock {
        FolderLock {
            file: lock.file.try_clone().unwrap(),
            process: lock.process + 1,
        }
    }

    #[test]
    fn a_forked_process_does_not_hold_what_was_let_go() {
        let folder = tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path(), "lock").unwrap();
        let forked = forked(&lock);
        drop(lock);
        let again = FolderLock::acquire(folder.path(), "lock");
        assert!(again.is_ok(), "{again:?}");
        drop(forked);
    }

    #[test]
    fn a_forked_process_lets_nothing_go() {
        let folder = tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path(), "lock").unwrap();
        drop(forked(&lock));
        let again = FolderLock::acquire(folder.path(), "lock");
        assert!(matches!(again, Err(RecordError::InUse { .. })), "{again:?}");
        drop(lock);
    }
}
