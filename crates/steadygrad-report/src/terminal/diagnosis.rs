//! The diagnosis of logs, as text.

use anstyle::Style;
use steadygrad::diagnose::{Diagnosis, Finding, FindingLevel, RunDiagnosis, RunState};

use super::findings;
use super::text::{BOLD, DIM, ERROR, GOOD, WARN, clean, field, paint, wrapped};
use crate::{facts, number};

/// The most names that are printed; the JSON has all.
const NAMES: usize = 8;

/// The page on what each kind of log can show.
const KNOWABLE: &str = concat!(
    env!("CARGO_PKG_REPOSITORY"),
    "/blob/main/docs/what-diagnose-can-know.md"
);

/// Returns the findings for a terminal of 100 columns, with ANSI styles. Strip the styles if the
/// output is no terminal: they repeat what the words say.
pub fn diagnosis(diagnosis: &Diagnosis) -> String {
    let runs: Vec<String> = diagnosis.runs.iter().map(run).collect();
    let mut out = runs.join("\n");
    let explained = diagnosis.runs.iter().flat_map(|run| &run.findings).next();
    let is_unclear = |run: &RunDiagnosis| run.state == RunState::NothingSeen;
    if let Some(finding) = explained {
        let line = format!("`steadygrad explain {}` says more", finding.code);
        out.push_str(&format!("\n{}\n", paint(DIM, line)));
    } else if diagnosis.runs.iter().any(is_unclear) {
        let line = format!("what logs can show: {KNOWABLE}");
        out.push_str(&format!("\n{}\n", paint(DIM, line)));
    }
    out
}

/// Returns one line for each run: how far its log goes, and the headline or the state.
pub fn brief(diagnosis: &Diagnosis) -> String {
    let line = |run: &RunDiagnosis| {
        let rows = number::count(run.rows as u64, "row");
        let fault = |finding: &&Finding| finding.level > FindingLevel::Note;
        let said = match run.findings.iter().find(fault) {
            Some(finding) => format!(
                "{}[{}]: {}",
                finding.level.name(),
                finding.code,
                clean(&finding.title)
            ),
            None => facts::state(run),
        };
        format!("after {rows}: {}", paint(style(run), said))
    };
    diagnosis
        .runs
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

fn run(run: &RunDiagnosis) -> String {
    let read = format!("{}: {}", run.name, facts::log(run));
    let mut out = wrapped(BOLD, &read, "", "");
    out.push_str(&wrapped(style(run), &facts::state(run), "", ""));
    if let Some(reason) = facts::cut_short(run) {
        out.push_str(&field("cut short", reason));
    }
    for sentence in facts::unseen(run) {
        out.push_str(&field("not visible", sentence));
    }
    if let Some(objective) = facts::objective(run) {
        out.push_str(&field("kind of training", objective));
    }
    let read: Vec<String> = facts::columns(run)
        .into_iter()
        .map(|column| match column.from {
            Some(name) => format!("{} from `{name}`", column.role),
            None => column.role,
        })
        .collect();
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
    out.push_str(&findings::section(&run.findings, run.unit));
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
    match run.state {
        _ if facts::is_good(run) => GOOD,
        RunState::Alive | RunState::NothingSeen | RunState::Unknown => WARN,
        _ => ERROR,
    }
}
