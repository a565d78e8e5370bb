//! A folder that one process writes to.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process;

use super::RecordError;

/// A claim on a folder, held while this value lives, and let go by the system if the process dies.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    /// The process that took it.
    process: u32,
}

impl FolderLock {
    /// Claims `folder` by the file `name` in it, which stays there.
    ///
    /// Some network file systems have no locks; a folder there is for its owner to look after.
    ///
    /// # Errors
    /// [`RecordError::InUse`] while another one is held, [`RecordError::Io`] when the file cannot be
    /// opened.
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
        // A process that was forked has the file as well: closing it here would not let go, and there it must not.
        if process::id() == self.process {
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    /// The lock as a process that was forked has it.
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
