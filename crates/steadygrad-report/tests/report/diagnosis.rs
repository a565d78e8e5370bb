//! Tests the documents of a diagnosis, for a lost run, a healthy run and an empty log.

use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::diagnose::{Diagnosis, RULES};
use steadygrad::trace::{Role, Series};
use steadygrad_report::{html, json, sarif, terminal};

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
