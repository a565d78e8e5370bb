//! Folders with made-up sources, which the checks are tried on.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Writes each file, a path with its text, into a new folder. The folder goes with the value.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}
