//! Tests `steadygrad train` as a user runs it, and on a machine that crashes.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use steadygrad_record::{SnapshotStore, read_manifest, read_steps};
use tempfile::tempdir;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadygrad"));
    command.args(arguments);
    command
}

fn steadygrad(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn faults_are_survived_and_told() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    let done = steadygrad(&[
        "train",
        "--subject",
        "digits-cnn",
        "--steps",
        "120",
        "--fault",
        "nan@50",
        "--out",
        run,
    ]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{out}{}", text(&done.stderr));
    assert!(
        out.contains("completed") && out.contains("skipped 1 "),
        "{out}"
    );
    let followed = text(&steadygrad(&["train", "--follow", run]).stdout);
    assert!(followed.contains("step     119"), "{followed}");
    assert!(followed.contains("incident at step 50: skip"), "{followed}");
    let replayed = steadygrad(&["replay", run, "--without-decision=30"]);
    let told = text(&replayed.stdout);
    assert_eq!(
        replayed.status.code(),
        Some(0),
        "{told}{}",
        text(&replayed.stderr)
    );
    for expected in [
        "step 50: skip",
        "to the bit",
        "input: batch",
        "the decision was worth it",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let none = steadygrad(&["replay", run, "--incident", "2"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("has no incident 2; it has 1"));
    // The control: the guard only observes.
    let observed = folder.path().join("observed");
    let observed = observed.to_str().unwrap();
    let done = steadygrad(&[
        "train",
        "--subject",
        "digits-cnn",
        "--steps",
        "120",
        "--fault",
        "nan@50",
        "--preset",
        "observe",
        "--json",
        "--out",
        observed,
    ]);
    assert_eq!(done.status.code(), Some(1), "its model predicts NaN");
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["validation_metric"], "NaN");
    assert_eq!(json["guard"]["skipped"], 0);
}

#[test]
fn bad_input_is_one_line_and_writes_nothing() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    for (arguments, expected) in [
        (vec!["train", "--fault", "nan"], "NAME@STEP"),
        (
            vec!["train", "--fault", "frogs@3"],
            "there is no fault `frogs`",
        ),
        (vec!["train", "--fault", "nan@x"], "not a whole number"),
        (vec!["train", "--preset", "bold"], "bold"),
        (vec!["train", "--resume", "/nowhere/run"], "/nowhere/run"),
        (vec!["train", "--follow", "/nowhere/run"], "/nowhere/run"),
        (vec!["train", "--steps", "0"], "--steps"),
    ] {
        let done = command(&arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let error = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!out.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// The bytes of the weights at the end of a run. The identities, random in each build, are omitted.
fn weights(run: &Path) -> Vec<(String, Vec<u8>)> {
    let found = SnapshotStore::new(run).newest_good(None).unwrap();
    let tensors = found.value.expect("a snapshot at the end").tensors;
    tensors
        .into_iter()
        .filter(|tensor| tensor.name.starts_with("now/") && !tensor.name.ends_with("optimizer"))
        .map(|tensor| (tensor.name, tensor.bytes))
        .collect()
}

/// Kills the process at times spread over the whole run, resumes it, and compares the result with
/// an uninterrupted run. `STEADYGRAD_KILLS=200` selects the long version.
#[test]
fn a_killed_run_goes_on_to_the_bit() {
    let kills: u32 = std::env::var("STEADYGRAD_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8);
    let arguments = |run: &str| {
        [
            "train",
            "--subject",
            "digits-cnn",
            "--steps",
            "400",
            "--fault",
            "nan@150",
            "--out",
            run,
        ]
        .map(str::to_owned)
    };
    let folder = tempdir().unwrap();
    let whole = folder.path().join("whole");
    let begin = std::time::Instant::now();
    let done = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .args(arguments(whole.to_str().unwrap()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    let life = begin.elapsed();
    let (expected, rows) = (weights(&whole), read_steps(&whole).unwrap().value.rows);
    let mut resumed_later = 0;
    for kill in 0..kills {
        let run = folder.path().join(format!("run-{kill}"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
            .args(arguments(run.to_str().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Uneven times, so that kills come at different points of a step.
        let share = f64::from((kill * 7919) % 1000) / 1000.0;
        std::thread::sleep(Duration::from_secs_f64(0.95 * share * life.as_secs_f64()));
        child.kill().unwrap();
        child.wait().unwrap();
        // A kill before the folder exists leaves nothing to resume and loses nothing.
        if read_manifest(&run).is_err() || !run.join("train.json").exists() {
            continue;
        }
        let resumed = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
            .args(["train", "--resume", run.to_str().unwrap(), "--json"])
            .output()
            .unwrap();
        assert!(
            resumed.status.success(),
            "{kill}: {}",
            text(&resumed.stderr)
        );
        let json: serde_json::Value = serde_json::from_slice(&resumed.stdout).unwrap();
        resumed_later += u32::from(json["resumed_at"].as_u64().unwrap() > 0);
        assert_eq!(weights(&run), expected, "{kill}");
        let again = read_steps(&run).unwrap().value.rows;
        assert_eq!(format!("{again:?}"), format!("{rows:?}"), "{kill}");
        std::fs::remove_dir_all(&run).unwrap();
    }
    assert!(
        kills < 8 || resumed_later > 0,
        "no kill came after a snapshot"
    );
}

/// A run of 100,000 steps that was killed after some of them.
fn killed(run: &Path) {
    let name = run.to_str().unwrap();
    let mut child = command(&["train", "--subject", "digits-cnn", "--steps", "100000"])
        .args(["--out", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let rows = || read_steps(run).map_or(0, |found| found.value.rows.len());
    while rows() < 64 {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_is_neither_healthy_nor_waited_for() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    killed(&run);
    let run = run.to_str().unwrap();
    let done = steadygrad(&["diagnose", run]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{out}");
    assert!(out.contains("of 100,000 steps, and the process"), "{out}");
    assert!(!out.contains("healthy"), "{out}");
    let never = steadygrad(&["diagnose", run, "--fail-on", "never"]);
    assert_eq!(never.status.code(), Some(0));

    let followed = steadygrad(&["train", "--follow", run]);
    let error = text(&followed.stderr);
    assert_eq!(followed.status.code(), Some(1), "{error}");
    assert!(
        error.contains("the process of the run is gone after"),
        "{error}"
    );
    assert!(error.contains(&format!("--resume {run}")), "{error}");
    assert!(text(&followed.stdout).contains("step       0"));
}

#[test]
fn a_run_without_an_update_has_failed() {
    let folder = tempdir().unwrap();
    let study = folder.path().join("study.toml");
    // The rate overflows f32: no update is finite, and the guard leaves each one out.
    std::fs::write(
        &study,
        "subject = \"digits-cnn\"\n[model]\ngain = 1e9\n[budget]\nsteps = 3\n",
    )
    .unwrap();
    let run = folder.path().join("run");
    let done = steadygrad(&[
        "train",
        study.to_str().unwrap(),
        "--out",
        run.to_str().unwrap(),
    ]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{out}");
    assert!(
        out.contains("the model is untrained") || out.contains("stopped by the guard"),
        "{out}"
    );
}
