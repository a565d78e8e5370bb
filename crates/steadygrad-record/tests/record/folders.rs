//! Existing folders and files are never overwritten.

use std::fs;
use std::path::Path;

use steadygrad_record::{RecordError, RunDir, RunStatus, read_steps, write_atomic};
use tempfile::{TempDir, tempdir};

use crate::common::{manifest, rows};

fn write(folder: &Path, count: usize, parameters: usize) -> RunDir {
    let mut run = RunDir::create(folder, manifest(parameters)).unwrap();
    for row in rows(count, parameters) {
        run.push_step(row).unwrap();
    }
    run
}

/// Returns all names and contents in a folder.
fn listing(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

fn create_error(path: &Path) -> RecordError {
    match RunDir::create(path, manifest(1)) {
        Ok(_) => panic!("created {}", path.display()),
        Err(error) => error,
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_as_it_is() {
    for name in ["run.json", "steps.arrow", ".hidden"] {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join(name), "mine").unwrap();
        match create_error(folder.path()) {
            RecordError::NotEmpty { path } => assert_eq!(path, folder.path()),
            other => panic!("{other}"),
        }
        assert_eq!(listing(folder.path()), [(name.into(), b"mine".to_vec())]);
    }
}

#[test]
fn a_finished_run_is_never_overwritten() {
    let folder = tempdir().unwrap();
    write(folder.path(), 2, 1).finish(RunStatus::Ended).unwrap();
    let before = listing(folder.path());
    assert!(matches!(
        create_error(folder.path()),
        RecordError::NotEmpty { .. }
    ));
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn parents_are_created_and_an_unwritable_path_is_named() {
    let folder = tempdir().unwrap();
    let deep = folder.path().join("a/b/c");
    write(&deep, 1, 1).finish(RunStatus::Ended).unwrap();
    assert_eq!(read_steps(&deep).unwrap().value.rows.len(), 1);

    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("run")] {
        let error = create_error(&path);
        assert!(
            matches!(&error, RecordError::Io { path: named, .. } if *named == path),
            "{error}"
        );
        let named = path.display().to_string();
        assert!(error.to_string().contains(&named), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

fn with_old_file() -> (TempDir, std::path::PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.json");
    write_atomic(&path, b"old").unwrap();
    (folder, path)
}

#[test]
fn an_atomic_write_replaces_the_file_and_leaves_nothing_else() {
    let (folder, path) = with_old_file();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(
        listing(folder.path()),
        [("run.json".into(), b"new".to_vec())]
    );
    write_atomic(&path, b"").unwrap();
    assert_eq!(listing(folder.path()), [("run.json".into(), vec![])]);
}

#[test]
fn a_failed_atomic_write_keeps_the_old_file() {
    let (folder, path) = with_old_file();
    // The temporary file cannot be created.
    fs::create_dir(folder.path().join("run.json.partial")).unwrap();
    let error = write_atomic(&path, b"new").unwrap_err();
    assert!(
        matches!(&error, RecordError::Io { path: named, .. } if *named == path),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_failed_rename_leaves_no_temporary_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.json");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "mine").unwrap();
    assert!(write_atomic(&path, b"new").is_err());
    assert_eq!(listing(folder.path()), [("run.json".into(), vec![])]);
    assert_eq!(fs::read(path.join("inside")).unwrap(), b"mine");
}

#[test]
fn a_run_has_one_writer_at_a_time() {
    let folder = tempdir().unwrap();
    let run = write(folder.path(), 1, 1);
    let second = RunDir::resume(folder.path(), 0).map(|_| ()).unwrap_err();
    assert!(matches!(second, RecordError::InUse { .. }), "{second}");
    // The refused resumption has written nothing.
    assert!(!folder.path().join("steps-2.arrow").exists());
    drop(run);
    RunDir::resume(folder.path(), 0).unwrap();
    assert!(folder.path().join("steps-2.arrow").exists());
}

#[test]
fn what_is_no_run_is_not_resumed_and_left_as_it_is() {
    let folder = tempdir().unwrap();
    let error = RunDir::resume(folder.path(), 0).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("run.json"), "{error}");
    assert_eq!(listing(folder.path()), []);
}
