//! A folder that one process writes to.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::RecordError;

/// A claim on a folder, held while this value lives, and let go by the system if the process dies.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
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
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RecordError::InUse {
                path: folder.to_owned(),
            }),
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(source)) => Err(RecordError::io("lock", &path, source)),
        }
    }
}
