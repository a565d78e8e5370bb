//! The diagnosis of logs, as text.

use anstyle::Style;
use steadygrad::diagnose::{Diagnosis, FindingLevel, RunDiagnosis, RunState};

use super::findings;
use super::text::{BOLD, DIM, ERROR, GOOD, WARN, field, paint, wrapped};
use crate::{facts, number};

/// The most names that are printed; the JSON has all.
const NAMES: usize = 8;

/// Returns the findings for a terminal of 100 columns, with ANSI styles. Strip the styles if the
/// output is no terminal: they repeat what the words say.
pub fn diagnosis(diagnosis: &Diagnosis) -> String {
    let runs: Vec<String> = diagnosis.runs.iter().map(run).collect();
    let mut out = runs.join("\n");
    let explained = diagnosis.runs.iter().flat_map(|run| &run.findings).next();
    if let Some(finding) = explained {
        let line = format!("`steadygrad explain {}` says more", finding.code);
        out.push_str(&format!("\n{}\n", paint(DIM, line)));
    }
    out
}

fn run(run: &RunDiagnosis) -> String {
    let steps = match (run.first_step, run.last_step) {
        (Some(first), Some(last)) => format!(", steps {first} to {last}"),
        _ => String::new(),
    };
    let rows = number::count(run.rows as u64, "row");
    let mut out = wrapped(
        BOLD,
        &format!("{}: {}, {rows}{steps}", run.name, run.format),
        "",
        "",
    );
    out.push_str(&wrapped(style(run), &facts::state(run), "", ""));
    let mut read: Vec<String> = run
        .matched
        .iter()
        .map(|matched| match matched.role == matched.column {
            true => matched.role.clone(),
            false => format!("{} from `{}`", matched.role, matched.column),
        })
        .collect();
    if run.parameters > 0 {
        read.push(format!(
            "gradient norms of {}",
            number::count(run.parameters as u64, "parameter")
        ));
    }
    for (name, list) in [
        ("read", read.join(", ")),
        ("not in the log", run.missing.join(", ")),
        ("columns left out", few(&run.unmatched)),
    ] {
        if !list.is_empty() {
            out.push_str(&field(name, &list));
        }
    }
    if let Some(forecast) = facts::forecast(run) {
        out.push_str(&field("forecast", &forecast));
    }
    for note in &run.notes {
        out.push_str(&field("about the log", note));
    }
    out.push_str(&findings::section(&run.findings));
    out
}

fn few(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMES)].join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn style(run: &RunDiagnosis) -> Style {
    let worst = run.findings.iter().map(|finding| finding.level).max();
    match (run.state, worst) {
        (RunState::Alive, None | Some(FindingLevel::Note)) => GOOD,
        (RunState::Alive | RunState::Unknown, _) => WARN,
        _ => ERROR,
    }
}
