//! Tests the tool as a user sees it: exit codes, one-line messages, no half-written files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn steadygrad(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the tool starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A study small enough for a test.
const SMALL: &str = "subject = \"digits-mlp\"\n[model]\ndepth = 12\nwidth = 32\ninit_std = 0.5\n\
                     [budget]\nsteps = 40\nbatch_size = 32\n";

/// The report without its times.
fn timeless(json: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("seconds");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => (),
        }
    }
    let mut value = serde_json::from_str(json).expect("JSON");
    strip(&mut value);
    value
}

#[test]
fn bad_input_is_one_clear_line_exit_code_2_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("unknown.toml", "[model]\ndept = 3\n");
    write("depth.toml", "[model]\ndepth = 0\n");
    write("negative.toml", "[optimizer]\nlearning_rate = -0.1\n");
    write("nan.toml", "[optimizer]\nlearning_rate = nan\n");
    write("torn.toml", "[model\ndepth = 3\n");
    write("words.csv", "x,label\nred,1\n");
    write("file", "");
    let before = fs::read_dir(dir.path()).unwrap().count();
    for (args, expected) in [
        (&["cure", "missing.toml"][..], "missing.toml"),
        (&["cure", "unknown.toml"], "did you mean `model.depth`"),
        (&["cure", "depth.toml"], "`model.depth` is 0; give"),
        (
            &["cure", "negative.toml"],
            "`optimizer.learning_rate` is -0.1; give",
        ),
        (
            &["cure", "nan.toml"],
            "`optimizer.learning_rate` is nan; give",
        ),
        (&["cure", "torn.toml"], "line 1"),
        (
            &["cure", "--data", "none.csv", "--target", "label"],
            "none.csv",
        ),
        (
            &["cure", "--data", "words.csv", "--target", "lable"],
            "did you mean `label`",
        ),
        (
            &["cure", "--data", "words.csv", "--target", "label"],
            "`red` is not a finite number",
        ),
        (&["cure", "--out", "file/below"], "file/below"),
        (&["cure", "--out", "."], "not empty"),
    ] {
        let output = steadygrad(dir.path(), args);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(message.contains(expected), "{args:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        before,
        "something was written"
    );
    // clap explains wrong flags, with the same exit code.
    assert_eq!(
        steadygrad(dir.path(), &["cure", "--steps", "0"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_printed_study_can_be_cured_and_the_same_seed_gives_the_same_report() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("study.toml"), SMALL).unwrap();
    let run = |out: &str| {
        let output = steadygrad(dir.path(), &["cure", "study.toml", "--json", "--out", out]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let (first, second) = (run("a"), run("b"));
    assert_eq!(timeless(&first), timeless(&second));
    let saved = fs::read_to_string(dir.path().join("a/report.json")).unwrap();
    assert_eq!(timeless(&saved), timeless(&first));

    let report = timeless(&first);
    let trials = report["trials"].as_array().unwrap();
    let named: Vec<&str> = trials
        .iter()
        .filter_map(|trial| trial["name"].as_str())
        .collect();
    for name in [
        "baseline",
        "clip",
        "regularize",
        "initialize",
        "normalize",
        "simplify",
        "slow_down",
        "control: clip=1",
        "control: random",
    ] {
        assert!(named.contains(&name), "{named:?}");
    }
    // A detection names the fault before the first non-finite value.
    let baseline = &trials[0]["outcome"];
    let detected = baseline["detections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| seen["step"].as_u64().unwrap())
        .min();
    let lost = baseline["first_non_finite_step"]
        .as_u64()
        .expect("the baseline overflows");
    assert!(detected.unwrap() < lost, "{detected:?} and {lost}");
    for trial in trials
        .iter()
        .filter(|trial| trial["kind"].get("family").is_some())
    {
        let computed = trial["derivation"]["formula"].is_string();
        assert!(computed != trial["not_tried"].is_string(), "{trial}");
        // The first remedy of every family applies here.
        assert!(
            computed || trial["name"].as_str().unwrap().contains(": "),
            "{trial}"
        );
    }

    let html = fs::read_to_string(dir.path().join("a/report.html")).unwrap();
    assert!(html.contains("digits-mlp") && html.contains("Plotly"));
    for file in [
        "baseline/run.json",
        "baseline/steps.arrow",
        "baseline/incidents.jsonl",
        "study.toml",
    ] {
        assert!(dir.path().join("a").join(file).exists(), "{file}");
    }
    let table = steadygrad_record::read_steps(&dir.path().join("a/baseline"))
        .unwrap()
        .value;
    assert!(
        table.rows.iter().any(|row| !row.loss.is_finite()),
        "the record keeps the NaN"
    );
    // Another seed gives another run.
    let other = steadygrad(
        dir.path(),
        &["cure", "study.toml", "--json", "--seed", "7", "--out", "c"],
    );
    assert_ne!(
        timeless(&text(&other.stdout))["measurements"],
        report["measurements"]
    );
}

#[test]
fn study_prints_what_cure_reads() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["study"][..],
        &["study", "--subject", "temporal-order-rnn"],
    ] {
        let printed = text(&steadygrad(dir.path(), args).stdout);
        let study = steadygrad_lab::study::parse(&printed).unwrap();
        assert_eq!(study.to_toml(), printed);
        assert!(printed.contains("# "), "it is commented");
    }
}

#[test]
fn a_users_csv_is_cured_as_classification_and_as_regression() {
    let dir = tempfile::tempdir().unwrap();
    let mut points = String::from("x,y,label\n");
    for row in 0..200 {
        let (x, y) = (f64::from(row % 20) - 10.0, f64::from(row / 20) - 5.0);
        let _ = writeln!(
            points,
            "{x},{y},{}",
            if x + y > 0.0 { "above" } else { "below" }
        );
    }
    fs::write(dir.path().join("points.csv"), &points).unwrap();
    for (target, metric) in [("label", "accuracy"), ("y", "R squared")] {
        // The label is text. As a feature it must be a number.
        let text_free = points.replace("above", "1").replace("below", "0");
        if target == "y" {
            fs::write(dir.path().join("points.csv"), text_free).unwrap();
        }
        let task = if target == "y" { "regression" } else { "auto" };
        let out = format!("out-{target}");
        let output = steadygrad(
            dir.path(),
            &[
                "cure",
                "--data",
                "points.csv",
                "--target",
                target,
                "--task",
                task,
                "--steps",
                "25",
                "--json",
                "--out",
                &out,
            ],
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(timeless(&text(&output.stdout))["subject"]["metric"], metric);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_what_is_done_and_exits_with_130() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .args(["cure", "--steps", "100000", "--out", "out"])
        .current_dir(dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Wait for the trials to begin, however slow the machine is.
    let begun = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        dir.path().join("out/trials").exists()
    });
    assert!(begun, "no trial began");
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = fs::read_to_string(dir.path().join("out/report.json")).unwrap();
    let report = timeless(&report);
    assert_eq!(report["interrupted"], true);
    assert!(
        report["trials"][0]["outcome"]["steps_done"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert!(dir.path().join("out/report.html").exists());
}

#[test]
fn probe_tells_a_network_that_explodes_from_one_that_does_not() {
    let dir = tempfile::tempdir().unwrap();
    // The control: the same network at its critical scale, with a stable learning rate.
    let csv: String = (0..200).fold("x,y,label\n".into(), |mut text, i| {
        let (x, y) = (f64::from(i % 17) / 8.0 - 1.0, f64::from(i % 13) / 6.0 - 1.0);
        let _ = writeln!(text, "{x},{y},{}", i32::from(x > y));
        text
    });
    fs::write(dir.path().join("points.csv"), csv).unwrap();
    let study = |gain: f64| {
        format!(
            "subject = \"csv-mlp\"\n[data]\nfile = \"points.csv\"\ntarget = \"label\"\n[model]\n\
             depth = 12\nwidth = 64\nactivation = \"tanh\"\ninit_std = {}\n\
             [optimizer]\nlearning_rate = 1e-3\n",
            gain / 8.0
        )
    };
    fs::write(dir.path().join("wild.toml"), study(5.0)).unwrap();
    fs::write(dir.path().join("calm.toml"), study(1.0)).unwrap();

    let wild = steadygrad(dir.path(), &["probe", "wild.toml", "--html", "wild.html"]);
    assert_eq!(wild.status.code(), Some(1), "{}", text(&wild.stderr));
    let seen = text(&wild.stdout);
    assert!(seen.contains("SG007"), "{seen}");
    // The text forecast shows the JSON's layer, with a `!` if it lies within the network.
    let wild_json = steadygrad(dir.path(), &["probe", "wild.toml", "--json"]);
    let report: Value = serde_json::from_slice(&wild_json.stdout).expect("JSON");
    let f16 = &report["forecast"]["gradient"][0];
    assert_eq!(f16["format"], "f16");
    let at = f16["overflows_at"].as_f64().expect("it grows").ceil();
    assert!((2.0..40.0).contains(&at), "{at}");
    let row = seen
        .lines()
        .find(|line| line.trim_start().starts_with("f16"));
    let cells: Vec<&str> = row.expect("a row").split_whitespace().collect();
    assert_eq!(cells[1], at.to_string(), "{seen}");
    let inside = at <= report["forecast"]["steps"].as_f64().expect("steps");
    assert_eq!(cells[2] == "!", inside, "{seen}");
    let page = fs::read_to_string(dir.path().join("wild.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("SG007"));

    let calm = steadygrad(dir.path(), &["probe", "calm.toml", "--json"]);
    let report: Value = serde_json::from_slice(&calm.stdout).expect("JSON");
    assert_eq!(calm.status.code(), Some(0), "{}", report["findings"]);
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(0));
    let exponent = &report["measurements"]["spectrum"]["exponents"][0];
    assert!(exponent["standard_error"].is_number(), "{exponent}");

    let bad = steadygrad(dir.path(), &["probe", "missing.toml"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(bad.stdout.is_empty());
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    for place in ["missing/page.html", "."] {
        let refused = steadygrad(dir.path(), &["probe", "--html", place]);
        assert_eq!(refused.status.code(), Some(2), "{place}");
        assert!(refused.stdout.is_empty(), "{place}");
        let said = text(&refused.stderr);
        assert!(said.contains("cannot write the page to"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The exit code is not 1, which `probe` reserves for findings.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_printed_has_an_exit_code_of_its_own() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_steadygrad"))
        .arg("study")
        .current_dir(dir.path())
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot write to the standard output"));
}

#[test]
fn a_study_beyond_the_memory_is_refused_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let study = "[model]\ndepth = 10000\nwidth = 100000\n";
    fs::write(dir.path().join("large.toml"), study).unwrap();
    for verb in ["probe", "cure", "train"] {
        let output = steadygrad(dir.path(), &[verb, "large.toml"]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{verb}: {message}");
        assert!(
            message.contains("`model.width` is 100000: the study needs at least"),
            "{verb}: {message}"
        );
        assert!(message.contains("give at most"), "{verb}: {message}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{verb}");
        assert_eq!(message.trim_end().lines().count(), 1, "{verb}: {message}");
    }
}
