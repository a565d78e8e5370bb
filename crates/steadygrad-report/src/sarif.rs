//! Findings in SARIF 2.1.0, the format that code hosts and editors read diagnostics in.

use serde_json::{Value, json};
use steadygrad::diagnose::{Diagnosis, Finding, RULES, RunDiagnosis};

use crate::json::json_error;
use crate::{ReportError, facts};

/// All findings of all runs as one SARIF log: the rules once, a result for each finding, its place as
/// a logical location, its numbers among the properties.
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
    let mut rules: Vec<_> = RULES.iter().collect();
    rules.sort_by_key(|rule| rule.code);
    let rules: Vec<Value> = rules
        .iter()
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
        }],
    });
    serde_json::to_string_pretty(&log).map_err(json_error)
}

fn result(diagnosis: &Diagnosis, run: &RunDiagnosis, finding: &Finding) -> Value {
    let message = format!(
        "{} ({}). {}",
        finding.title,
        facts::place(finding),
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

/// A path as SARIF wants it: with slashes, and nothing in it that a URI gives a meaning to.
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
