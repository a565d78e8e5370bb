use steadygrad::cure::CureReport;
use steadygrad_report::json;

use crate::fixture;

/// Writes, reads and writes again. Any loss shows as a difference.
fn survives(report: &CureReport) -> String {
    let text = json::cure(report).expect("serialises");
    let back: CureReport = serde_json::from_str(&text).expect("reads back");
    assert_eq!(json::cure(&back).expect("serialises"), text);
    text
}

#[test]
fn every_report_survives_a_round_trip() {
    for report in [
        fixture::cured(),
        fixture::interrupted(),
        fixture::nothing_cured(),
        fixture::empty(),
        fixture::nasty(),
    ] {
        survives(&report);
    }
}

#[test]
fn no_odd_number_is_lost() {
    for (odd, word) in [
        (f64::NAN, "\"NaN\""),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ] {
        let report = fixture::odd(odd);
        let text = survives(&report);
        let steps: usize = report
            .trials
            .iter()
            .filter_map(|trial| trial.outcome.as_ref())
            .map(|outcome| outcome.trace.loss.len())
            .sum();
        assert!(text.matches(word).count() > 2 * steps, "{odd}");
        // JSON would turn a number that it cannot hold into null.
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for name in ["loss", "input_rms", "weight_norm", "global_norm"] {
            assert!(value["measurements"][name].is_string(), "{name}");
        }
        assert!(value["trials"][0]["outcome"]["trace"]["loss"][0].is_string());
    }
}
