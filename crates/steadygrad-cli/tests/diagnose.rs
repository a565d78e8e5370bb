//! Tests `steadygrad diagnose` and `explain` as a user runs them.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::tempdir;

fn steadygrad(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .args(arguments)
        .output()
        .unwrap()
}

fn diagnose(path: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let mut arguments = vec!["diagnose", path.to_str().unwrap()];
    arguments.extend(more);
    let done = steadygrad(&arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

/// A table of losses and norms. If it `breaks`, both grow by half at each row from row 100 on.
fn table(rows: u32, breaks: bool) -> String {
    let mut text = String::from("step,train/loss,train/grad_norm,lr\n");
    for row in 0..rows {
        let noise = 1.0 + 0.1 * (f64::from(row) * 12.9).sin();
        let grown = 1.5f64.powi(if breaks {
            row.saturating_sub(100) as i32
        } else {
            0
        });
        let loss = (0.3 + 2.0 * (-f64::from(row) / 40.0).exp()) * noise * grown;
        writeln!(text, "{row},{loss},{},0.1", noise * grown).unwrap();
    }
    text
}

#[test]
fn exit_codes_say_healthy_ill_and_unreadable() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    std::fs::write(&path, table(130, false)).unwrap();
    let (code, out, error) = diagnose(&path, &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("healthy: nothing is wrong"), "{out}");

    std::fs::write(&path, table(130, true)).unwrap();
    let (code, out, _) = diagnose(&path, &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("error[SG006]") && out.contains("instead of 1.0e-1"),
        "{out}"
    );

    for (content, expected) in [
        ("", "it is empty"),
        ("a,b\n1,2\n", "its columns are a, b"),
        ("{\"a\": 1", "it begins as JSON"),
    ] {
        std::fs::write(&path, content).unwrap();
        let (code, out, error) = diagnose(&path, &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{content}");
        assert!(
            error.contains("metrics.csv") && error.contains(expected),
            "{error}"
        );
    }
    let (code, _, error) = diagnose(&folder.path().join("none"), &[]);
    assert!(code == Some(2) && error.contains("none"), "{error}");
}

#[test]
fn columns_can_be_named_and_every_format_be_printed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, table(130, true).replace("train/loss", "criterion")).unwrap();
    let page = folder.path().join("page.html");
    let (code, out, _) = diagnose(
        &path,
        &[
            "--loss",
            "criterion",
            "--html",
            page.to_str().unwrap(),
            "--json",
        ],
    );
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["runs"][0]["matched"][0]["column"], "criterion");
    assert_eq!(json["runs"][0]["findings"][0]["code"], "SG006");
    assert!(std::fs::read_to_string(page).unwrap().contains("SG006"));

    let other = folder.path().join("other.html");
    let done = steadygrad(&[
        "report",
        path.to_str().unwrap(),
        "--out",
        other.to_str().unwrap(),
    ]);
    assert!(done.status.success() && other.is_file());

    let (_, out, _) = diagnose(&path, &["--loss", "criterion", "--format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "SG006");

    let (code, _, error) = diagnose(&path, &["--loss", "criterio"]);
    assert!(
        code == Some(2) && error.contains("the nearest are `criterion`"),
        "{error}"
    );
}

#[test]
fn a_run_of_its_own_is_read() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let name = run.to_str().unwrap();
    let fault = ["--fault", "nan@50", "--preset", "observe", "--out", name];
    let mut arguments = vec!["train", "--subject", "digits-cnn", "--steps", "60"];
    arguments.extend(fault);
    // Without a guard that acts, the NaN stays in the weights.
    assert_eq!(steadygrad(&arguments).status.code(), Some(1));
    let (code, out, _) = diagnose(&run, &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("run of steadygrad, 60 rows, steps 0 to 59"),
        "{out}"
    );
    assert!(
        out.contains("error[SG020]: `loss` is NaN from step 50 on"),
        "{out}"
    );
    assert!(out.contains("gradient norms of 8 parameters"), "{out}");
}

#[test]
fn a_fault_that_the_run_never_reaches_is_refused() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let name = run.to_str().unwrap();
    let done = steadygrad(&[
        "train",
        "--subject",
        "digits-cnn",
        "--steps",
        "9",
        "--fault",
        "nan@9",
        "--out",
        name,
    ]);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{error}");
    assert!(error.contains("give a step below 9"), "{error}");
}

#[test]
fn codes_are_explained() {
    let done = steadygrad(&["explain", "sg003"]);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && text.contains("SG003: amplification-through-depth"));
    let done = steadygrad(&["explain", "SG099"]);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2));
    assert!(
        error.contains("no rule `SG099`: the codes are SG001, SG002"),
        "{error}"
    );
}

/// A table in which one row's loss and norm jump, and the run goes on as before.
fn spike() -> String {
    let mut text = String::from("step,loss,grad_norm,lr\n");
    for row in 0..200 {
        let noise = 1.0 + 0.1 * (f64::from(row) * 12.9).sin();
        let times = if row == 120 { 300.0 } else { 1.0 };
        let loss = (0.3 + 2.0 * (-f64::from(row) / 40.0).exp()) * noise * times;
        writeln!(text, "{row},{loss},{},0.1", noise * times).unwrap();
    }
    text
}

#[test]
fn trouble_that_a_run_came_out_of_fails_a_build_only_if_asked() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("spike.csv");
    std::fs::write(&path, spike()).unwrap();
    let (code, out, _) = diagnose(&path, &[]);
    assert!(code == Some(0) && out.contains("warning["), "{out}");
    for (level, expected) in [("error", 0), ("warning", 1), ("never", 0)] {
        let (code, ..) = diagnose(&path, &["--fail-on", level]);
        assert_eq!(code, Some(expected), "{level}");
    }
    std::fs::write(&path, table(130, true)).unwrap();
    for (level, expected) in [("error", 1), ("warning", 1), ("never", 0)] {
        let (code, ..) = diagnose(&path, &["--fail-on", level, "--json"]);
        assert_eq!(code, Some(expected), "{level}");
    }
    let (code, _, error) = diagnose(&path, &["--fail-on", "note"]);
    assert!(code == Some(2) && error.contains("never"), "{error}");
}

#[test]
fn the_user_knows_the_kind_of_training() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("loss.csv");
    std::fs::write(&path, table(130, false)).unwrap();
    for (name, expected) in [("auto", "supervised"), ("gan", "gan"), ("rl", "rl")] {
        let (_, out, _) = diagnose(&path, &["--objective", name, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["runs"][0]["objective"], expected, "{name}");
    }
    let (_, out, _) = diagnose(&path, &["--objective", "rl"]);
    assert!(
        out.contains("reinforcement learning: the rules that need a falling"),
        "{out}"
    );
}

#[test]
fn a_pipe_that_goes_on_is_told_about_and_judged_at_its_end() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .args(["diagnose", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let whole = table(130, true);
    // Half of a number must not be read as a number.
    let (calm, rest) = whole.split_at(whole.find("\n90,").unwrap() + 8);
    pipe.write_all(calm.as_bytes()).unwrap();
    let line = told.next().unwrap().unwrap();
    assert!(line.starts_with("after 90 rows: "), "{line}");
    pipe.write_all(rest.as_bytes()).unwrap();
    let line = told.next().unwrap().unwrap();
    assert!(line.starts_with("after 130 rows: error[SG006]: "), "{line}");
    drop(pipe);
    let done = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(1), "{out}");
    assert!(
        out.contains("standard input: ") && out.contains("error[SG006]"),
        "{out}"
    );
}

/// Runs `diagnose -` on this text.
fn piped(text: &str, more: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .args(["diagnose", "-"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_standard_input_has_the_formats_and_errors_of_a_file() {
    let done = piped(&table(130, true), &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["runs"][0]["findings"][0]["code"], "SG006");
    assert_eq!(
        (done.status.code(), done.stderr.as_slice()),
        (Some(1), &b""[..])
    );
    for (text, expected) in [("", "it is empty"), ("a,b\n1,2\n", "its columns are a, b")] {
        let done = piped(text, &[]);
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{error}");
        assert!(
            error.contains("`standard input`") && error.contains(expected),
            "{error}"
        );
    }
}
