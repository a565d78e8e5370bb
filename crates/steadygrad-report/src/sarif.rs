//! Findings in SARIF 2.1.0, the format of diagnostics that code hosts and editors read.

use serde_json::{Value, json};
use steadygrad::diagnose::{Diagnosis, Finding, RunDiagnosis};

use crate::json::json_error;
use crate::rules::by_code;
use crate::{ReportError, facts};

/// Returns all findings of all runs as one SARIF log, as indented JSON: each rule once, and a
/// result for each finding. A result has its place as a logical location and its numbers as
/// properties.
///
/// # Errors
/// [`ReportError::Json`]; no diagnosis is known to cause it.
pub fn diagnosis(diagnosis: &Diagnosis) -> Result<String, ReportError> {
    let results: Vec<Value> = diagnosis
        .runs
        .iter()
        .flat_map(|run| {
            run.findings
                .iter()
                .map(|finding| result(diagnosis, run, finding))
        })
        .collect();
    let rules: Vec<Value> = by_code()
        .into_iter()
        .map(|rule| {
            json!({
                "id": rule.code,
                "name": rule.name,
                "shortDescription": { "text": rule.what },
                "fullDescription": { "text": rule.why },
                "help": { "text": rule.remedy },
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "steadygrad",
                "semanticVersion": diagnosis.version,
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "results": results,
            // What no result says: a log without a finding is not always a healthy run.
            "properties": { "runs": diagnosis.runs.iter().map(state).collect::<Vec<_>>() },
        }],
    });
    serde_json::to_string_pretty(&log).map_err(json_error)
}

fn result(diagnosis: &Diagnosis, run: &RunDiagnosis, finding: &Finding) -> Value {
    let message = format!(
        "{} ({}). {}",
        finding.title,
        facts::place(finding, run.unit),
        finding.help
    );
    json!({
        "ruleId": finding.code,
        "level": finding.level.name(),
        "message": { "text": message },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": uri(&diagnosis.path) } },
            "logicalLocations": [{
                "name": finding.place.to_string(),
                "fullyQualifiedName": format!("{}/{}", run.name, finding.place),
            }],
        }],
        "properties": {
            "run": run.name,
            "step": finding.step,
            "until": finding.until,
            "evidence": finding.evidence,
            "confidence": finding.confidence,
        },
    })
}

fn state(run: &RunDiagnosis) -> Value {
    json!({
        "name": run.name,
        "state": facts::state(run),
        "cutShort": run.cut_short,
        "unseen": run.unseen,
    })
}

/// A path as a relative URI: with slashes, and with the characters that a URI reserves escaped.
fn uri(path: &str) -> String {
    path.chars()
        .map(|letter| match letter {
            '\\' => "/".into(),
            ' ' => "%20".into(),
            '%' => "%25".into(),
            '#' => "%23".into(),
            '?' => "%3F".into(),
            other => other.to_string(),
        })
        .collect()
}
