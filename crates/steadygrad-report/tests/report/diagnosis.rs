//! Tests the documents of a diagnosis, for a lost run, a healthy run and an empty log.

use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::diagnose::{Diagnosis, RULES, RunState};
use steadygrad::trace::{Cadence, Objective, Role, Series, StepUnit};
use steadygrad_report::{html, json, sarif, terminal};

use crate::html::own;
use crate::terminal::{assert_says, strip};

fn trace(name: &str, rows: u64, lost: bool) -> Trace {
    let steps: Arc<[u64]> = (0..rows).collect();
    let noise = |row: u64| 1.0 + 0.1 * (row as f64 * 12.9).sin();
    let grown = |row: u64| match lost {
        true => 1.5f64.powi(row.saturating_sub(60) as i32),
        false => 1.0,
    };
    let loss = |row: u64| (0.3 + 2.0 * (-(row as f64) / 40.0).exp()) * noise(row) * grown(row);
    let series = |role: Role, column: &str, value: &dyn Fn(u64) -> f64| {
        Series::new(role, column, steps.clone(), (0..rows).map(value).collect()).unwrap()
    };
    Trace {
        name: name.into(),
        format: "CSV".into(),
        series: vec![
            series(Role::Loss, "train/<loss>", &loss),
            series(Role::GradNorm, "grad_norm", &|row| noise(row) * grown(row)),
        ],
        notes: vec!["steps go back once".into()],
        cadence: Cadence::Step,
        ..Trace::default()
    }
}

fn diagnosis(traces: &[Trace]) -> Diagnosis {
    Diagnosis::of("logs/my run", traces)
}

#[test]
fn a_lost_run_has_its_cause_first_and_a_chart() {
    let text = terminal::diagnosis(&diagnosis(&[trace("lost", 90, true)]));
    assert!(text.contains("lost: CSV, 90 rows, steps 0 to 89"), "{text}");
    for part in [
        "[SG006]",
        "help:",
        "log scale",
        "learning_rate",
        "steps go back once",
        "says more",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (cause, consequence) = (text.find("SG006").unwrap(), text.find("SG002").unwrap());
    assert!(cause < consequence);
}

#[test]
fn a_healthy_run_and_an_empty_log_say_so() {
    let text = terminal::diagnosis(&diagnosis(&[trace("well", 90, false)]));
    assert!(
        text.contains("healthy: nothing is wrong") && !text.contains("SG0"),
        "{text}"
    );
    let empty = diagnosis(&[Trace::default()]);
    assert!(terminal::diagnosis(&empty).contains("nothing to judge"));
    assert!(empty.is_healthy() && html::diagnosis(&empty).contains("nothing to judge"));
}

#[test]
fn sarif_has_each_rule_once_and_a_result_for_each_finding() {
    let lost = diagnosis(&[trace("lost", 90, true)]);
    let log = sarif::diagnosis(&lost).expect("serialises");
    let log: serde_json::Value = serde_json::from_str(&log).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), RULES.len());
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), lost.runs[0].findings.len());
    assert_eq!(
        (results[0]["ruleId"].as_str(), results[0]["level"].as_str()),
        (Some("SG006"), Some("error"))
    );
    let location = &results[0]["locations"][0];
    assert_eq!(
        location["physicalLocation"]["artifactLocation"]["uri"],
        "logs/my%20run"
    );
    assert!(
        results[0]["message"]["text"]
            .as_str()
            .unwrap()
            .contains("Multiply the learning rate")
    );
}

#[test]
fn the_page_escapes_names_and_the_json_has_every_number() {
    let lost = diagnosis(&[trace("<b>lost</b>", 90, true)]);
    let page = html::diagnosis(&lost);
    assert!(page.contains("&lt;b&gt;lost&lt;/b&gt;") && !page.contains("<b>lost"));
    assert!(page.contains("train/&lt;loss&gt;") && page.contains("plot-0-1"));
    let read: Diagnosis = serde_json::from_str(&json::diagnosis(&lost).unwrap()).unwrap();
    assert_eq!(read, lost);
}

/// The text and the page, without styles and scripts.
fn documents(diagnosis: &Diagnosis) -> [String; 2] {
    let text = strip(&terminal::diagnosis(diagnosis));
    [text, own(&html::diagnosis(diagnosis)).to_owned()]
}

#[test]
fn positions_have_the_unit_that_the_log_counts() {
    for (unit, cadence, expected, log) in [
        (
            StepUnit::Step,
            Cadence::Steps(10),
            "steps 6",
            "steps 0 to 89, a row is 10 steps",
        ),
        (StepUnit::Row, Cadence::Unknown, "rows 6", "CSV, 90 rows"),
        (
            StepUnit::Epoch,
            Cadence::Epoch,
            "epochs 6",
            "epochs 0 to 89, a row is an epoch",
        ),
        (
            StepUnit::EnvironmentStep,
            Cadence::Step,
            "environment steps 6",
            "environment steps 0 to 89, a row is one step",
        ),
    ] {
        let mut lost = diagnosis(&[trace("lost", 90, true)]);
        (lost.runs[0].unit, lost.runs[0].cadence) = (unit, cadence);
        for document in documents(&lost) {
            assert_says(&document, &[expected, log]);
            let from = format!("from {} ", unit.name());
            assert_says(&document, &[from.as_str()]);
        }
        let log = sarif::diagnosis(&lost).unwrap();
        assert!(log.contains(expected), "{log}");
    }
}

#[test]
fn nothing_seen_is_not_healthy() {
    let mut unclear = diagnosis(&[trace("well", 90, false)]);
    let run = &mut unclear.runs[0];
    run.state = RunState::NothingSeen;
    run.unseen = vec!["A row is an epoch: a spike of one batch is averaged away.".into()];
    for document in documents(&unclear) {
        assert_says(
            &document,
            &[
                "nothing seen: no rule found a fault",
                "a spike of one batch",
            ],
        );
        assert!(!document.contains("healthy") && !document.contains("headline good"));
    }
    let log = sarif::diagnosis(&unclear).unwrap();
    assert!(
        log.contains("nothing seen") && log.contains("a spike of one batch"),
        "{log}"
    );
    assert!(terminal::brief(&unclear).contains("after 90 rows: "));
}

#[test]
fn a_log_that_was_cut_short_says_so() {
    let short = Trace {
        cut_short: Some("744 of 3,000 steps".into()),
        ..trace("short", 90, false)
    };
    let short = diagnosis(&[short]);
    for document in documents(&short) {
        assert_says(
            &document,
            &["not finished: the log ends", "744 of 3,000 steps"],
        );
        assert!(!document.contains("healthy") && !document.contains("headline good"));
    }
    assert!(
        sarif::diagnosis(&short)
            .unwrap()
            .contains("744 of 3,000 steps")
    );
}

#[test]
fn the_kind_of_training_is_named_where_losses_are_no_measure() {
    for (objective, expected) in [
        (
            Objective::Gan,
            "GAN: the rules that need a falling loss are off",
        ),
        (
            Objective::Rl,
            "reinforcement learning: the rules that need a falling loss are off",
        ),
    ] {
        let mut other = diagnosis(&[trace("well", 90, false)]);
        other.runs[0].objective = objective;
        for document in documents(&other) {
            assert_says(&document, &[expected]);
        }
    }
    let [text, _] = documents(&diagnosis(&[trace("well", 90, false)]));
    assert!(!text.contains("kind of training"), "{text}");
}

#[test]
fn confidence_says_what_it_was_measured_on_and_stays_away_where_it_is_not_known() {
    let mut lost = diagnosis(&[trace("lost", 90, true)]);
    lost.runs[0].findings[0].confidence = Some(0.951);
    for document in documents(&lost) {
        assert_says(
            &document,
            &["95% of such headlines were right on drawn runs of small networks"],
        );
    }
    lost.runs[0].findings[0].confidence = None;
    for document in documents(&lost) {
        assert!(!document.contains("of such headlines"));
    }
}

#[test]
fn several_runs_are_counted() {
    let mut several = diagnosis(&[
        trace("lost", 90, true),
        trace("well", 90, false),
        trace("unclear", 90, false),
    ]);
    several.runs[2].state = RunState::NothingSeen;
    let [_, page] = documents(&several);
    assert_says(
        &page,
        &["1 of 3 runs has findings or is not finished; 1 of 3 runs could not show every fault"],
    );
}
