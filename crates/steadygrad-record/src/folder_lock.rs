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

/// Whether a living process holds the lock `name` of `folder`.
///
/// `None` if that cannot be known, for example on a network file system without locks. A folder
/// without the file is not locked.
pub(super) fn is_held(folder: &Path, name: &str) -> Option<bool> {
    let file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    // Closing the file releases the shared lock.
    match file.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
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
    fn a_lock_is_held_as_long_as_it_lives() {
        let folder = tempdir().unwrap();
        assert_eq!(is_held(folder.path(), "lock"), Some(false));
        let lock = FolderLock::acquire(folder.path(), "lock").unwrap();
        assert_eq!(is_held(folder.path(), "lock"), Some(true));
        drop(lock);
        assert_eq!(is_held(folder.path(), "lock"), Some(false));
        // Looking at it leaves it free.
        assert!(FolderLock::acquire(folder.path(), "lock").is_ok());
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
