//! Tests a full disk: a small file system where the system allows one, and a limit on the size of
//! files everywhere.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use steadygrad_record::{
    NonFinite, RecordError, RunDir, RunStatus, Snapshot, SnapshotError, SnapshotStore, Tensor,
    read_manifest, read_steps,
};
use tempfile::tempdir;

use crate::common::{manifest, rows, snapshot};

/// The variable that holds the child's folder.
const FOLDER: &str = "STEADYGRAD_TEST_FULL_DISK";

fn large(step: u64, bytes: usize) -> Snapshot {
    let mut snapshot = snapshot(step);
    snapshot.tensors.push(Tensor {
        name: "large".into(),
        dtype: steadygrad_record::Dtype::U8,
        shape: vec![bytes],
        bytes: vec![7; bytes],
    });
    snapshot
}

/// Writes until the disk is full, as a child process on a small disk.
#[test]
#[ignore = "a child process of the tests below"]
fn write_until_it_is_full() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        panic!("{FOLDER} is not set")
    };
    let folder = Path::new(&folder);
    let mut run = RunDir::create(folder, manifest(2)).unwrap();
    let all = rows(100_000, 2);
    for row in &all[..10] {
        run.push_step(row.clone()).unwrap();
    }
    run.write_snapshot(&snapshot(10), NonFinite::Refuse)
        .unwrap();

    // The snapshot does not fit.
    let error = run
        .write_snapshot(&large(11, 4 << 20), NonFinite::Refuse)
        .unwrap_err();
    let SnapshotError::Record(RecordError::Full { last_good, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(last_good.as_ref().map(|good| good.step), Some(10));
    let text = error.to_string();
    assert!(text.starts_with("no space left to write"), "{text}");
    assert!(
        text.contains("the last good state is at step 10 in"),
        "{text}"
    );
    assert!(text.contains("000001-step-10"), "{text}");
    let left = fs::read_dir(folder.join("snapshots")).unwrap().count();
    assert_eq!(left, 1, "the failed snapshot still takes space");

    // Write rows until they do not fit either.
    let mut taken = 10;
    let error = loop {
        let row = all[taken].clone();
        taken += 1;
        if let Err(error) = run.push_step(row) {
            break error;
        }
    };
    assert!(matches!(error, RecordError::Full { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("no space left to append to"), "{text}");
    assert!(
        text.contains("the last good state is at step 10 in"),
        "{text}"
    );

    // Every flushed row is there, and nothing else.
    let found = read_steps(folder).unwrap();
    assert_eq!(found.problems, []);
    let count = found.value.rows.len();
    assert!(taken - count <= 64, "{count} of {taken} rows");
    let expected = &all[..count];
    assert_eq!(format!("{:?}", found.value.rows), format!("{expected:?}"));
    let good = SnapshotStore::new(folder).newest_good(None).unwrap();
    assert_eq!((good.value, good.problems), (Some(snapshot(10)), vec![]));
    assert_eq!(read_manifest(folder).unwrap().problems, []);

    // Free some space: the run then ends normally.
    if let Some(ballast) = std::env::var_os("STEADYGRAD_TEST_BALLAST") {
        fs::remove_file(ballast).unwrap();
        run.finish(RunStatus::Ended).unwrap();
        let found = read_steps(folder).unwrap();
        assert_eq!(found.problems, []);
        let expected = &all[..taken];
        assert_eq!(format!("{:?}", found.value.rows), format!("{expected:?}"));
    }
}

/// Runs the child above after `setup`, where `"$0"` is this program.
fn child(folder: &Path, setup: &str) -> Output {
    let run = r#"exec "$0" full_disk::write_until_it_is_full --ignored --exact --nocapture"#;
    let mut command = if setup.contains("mount") {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command
        .args(["-c", &format!("{setup} && {run}")])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.join("run"))
        .output()
        .unwrap()
}

fn assert_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
fn a_full_file_system_stops_with_a_clear_message_and_loses_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().display();
    let mount = format!("mount -t tmpfs -o size=1m none '{path}'");
    let allowed = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &mount])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this system lets no ordinary user mount a small file system");
        return;
    }
    let ballast = format!("'{path}/ballast'");
    let setup = format!(
        "{mount} && head -c 100000 /dev/zero > {ballast} && \
         export STEADYGRAD_TEST_BALLAST={ballast}"
    );
    assert_success(&child(folder.path(), &setup));
}

#[test]
#[cfg(unix)]
fn a_file_that_may_not_grow_stops_with_a_clear_message_and_loses_nothing() {
    let folder = tempdir().unwrap();
    // A file may have at most 512 KiB. The shell ignores the signal that comes with the error.
    let setup = "trap '' XFSZ && ulimit -f 1024";
    assert_success(&child(folder.path(), setup));
}
