use serde::{Deserialize, Serialize};

use super::unseen::unseen;
use super::{
    Chart, DivergenceForecast, Ending, Finding, FindingLevel, GUARDED, History, diagnose_run,
};
use crate::trace::{Cadence, Objective, Role, StepUnit, Trace};

/// A column of a log, and the role that the reader gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MatchedColumn {
    /// The role's name: `grad_norm`, for example.
    pub role: String,
    /// The column's name in the log.
    pub column: String,
}

/// The state of a run at the end of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// The log has no loss and no gradient norm.
    Unknown,
    /// The log does not show that the run is lost. Without a finding above a note the run is
    /// healthy: the columns would have shown a fault.
    Alive,
    /// No fault was found, in a log that could not have shown all of them:
    /// [`unseen`](RunDiagnosis::unseen) says which.
    NothingSeen,
    /// Loss or gradient norm are NaN or infinite from this step to the end.
    NonFinite {
        /// The first such step.
        step: u64,
    },
    /// A loss, a norm or another measured size grew out of bounds from this step on and did not
    /// come back.
    Diverged {
        /// The first such step.
        step: u64,
    },
    /// The loss is back at its start, or above, from this step on.
    Relapsed {
        /// The first such step.
        step: u64,
    },
}

/// What one log contains, and what the rules found in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunDiagnosis {
    /// The run's name.
    pub name: String,
    /// The kind of log.
    pub format: String,
    /// Rows with a loss or a gradient norm.
    pub rows: usize,
    /// The first row's step.
    pub first_step: Option<u64>,
    /// The last row's step.
    pub last_step: Option<u64>,
    /// Columns with a role, except the norms of single parameters.
    pub matched: Vec<MatchedColumn>,
    /// Number of parameters whose gradient norm is in the log.
    pub parameters: usize,
    /// Columns that the rules look at, and that the log does not have.
    pub missing: Vec<String>,
    /// Columns without a role.
    pub unmatched: Vec<String>,
    /// What the reader noticed about the log.
    pub notes: Vec<String>,
    /// What one row stands for.
    #[serde(default)]
    pub cadence: Cadence,
    /// What the steps count.
    #[serde(default)]
    pub unit: StepUnit,
    /// What kind of training it is.
    #[serde(default)]
    pub objective: Objective,
    /// How the run ended.
    pub state: RunState,
    /// What the log could not have shown, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// Why the log ends before the run was done ([`Trace::cut_short`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_short: Option<String>,
    /// How likely the run was to diverge, from its first rows alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<DivergenceForecast>,
    /// The whole log's loss and gradient norm, thinned.
    pub overview: Vec<Chart>,
    /// The findings, the headline first.
    pub findings: Vec<Finding>,
}

/// The columns that most rules look at.
const WANTED: [Role; 5] = [
    Role::Loss,
    Role::GradNorm,
    Role::LearningRate,
    Role::WeightNorm,
    Role::UpdateNorm,
];

impl RunDiagnosis {
    /// Diagnoses one log. An empty log has no finding and the state [`RunState::Unknown`].
    pub fn of(trace: &Trace) -> Self {
        let history = History::of(trace);
        let findings = diagnose_run(&history);
        let unseen = unseen(&history, &findings);
        let others = trace
            .series
            .iter()
            .filter(|series| !matches!(series.role(), Role::ParameterGradNorm(_)));
        let mut missing: Vec<String> = WANTED
            .iter()
            .filter(|role| trace.series(role).is_none())
            .map(Role::column)
            .collect();
        let parameters = trace.parameters().count();
        if parameters == 0 {
            missing.push("grad_norm/<parameter>".into());
        }
        let overview = [Role::Loss, Role::GradNorm];
        Self {
            name: trace.name.clone(),
            format: trace.format.clone(),
            rows: history.rows().len(),
            first_step: history.rows().first().map(|row| row.step),
            last_step: history.rows().last().map(|row| row.step),
            matched: others
                .map(|series| MatchedColumn {
                    role: series.role().column(),
                    column: series.column().to_owned(),
                })
                .collect(),
            parameters,
            missing,
            unmatched: trace.unmatched.clone(),
            // What a guard did is a finding of its own (SG016).
            notes: trace
                .notes
                .iter()
                .filter(|note| !note.starts_with(GUARDED))
                .cloned()
                .collect(),
            cadence: trace.cadence,
            unit: trace.unit,
            objective: trace.objective,
            state: state(&history, &findings, &unseen),
            unseen,
            cut_short: trace.cut_short.clone(),
            forecast: DivergenceForecast::of(&history),
            overview: overview
                .iter()
                .filter_map(|role| history.overview(role))
                .collect(),
            findings,
        }
    }

    /// Whether no fault was found, and the log was not cut short. A note is no fault.
    pub fn is_healthy(&self) -> bool {
        self.cut_short.is_none() && self.findings.iter().all(is_note)
    }
}

fn is_note(finding: &Finding) -> bool {
    finding.level == FindingLevel::Note
}

fn state(history: &History<'_>, findings: &[Finding], unseen: &[String]) -> RunState {
    let step = |row: usize| history.step(row);
    match history.ending() {
        Ending::Unknown => RunState::Unknown,
        Ending::Alive if findings.iter().all(is_note) && !unseen.is_empty() => {
            RunState::NothingSeen
        }
        Ending::Alive => RunState::Alive,
        Ending::NonFinite { row } => RunState::NonFinite { step: step(row) },
        Ending::Diverged { row } => RunState::Diverged { step: step(row) },
        Ending::Relapsed { row } => RunState::Relapsed { step: step(row) },
    }
}

/// The diagnoses of all logs below one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Version of steadygrad.
    pub version: String,
    /// Where the logs are, as the user named it.
    pub path: String,
    /// The runs.
    pub runs: Vec<RunDiagnosis>,
}

impl Diagnosis {
    /// Diagnoses each log; `path` is where they are, as the user named it.
    pub fn of(path: impl Into<String>, traces: &[Trace]) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            path: path.into(),
            runs: traces.iter().map(RunDiagnosis::of).collect(),
        }
    }

    /// Whether no fault was found in any run.
    pub fn is_healthy(&self) -> bool {
        self.runs.iter().all(RunDiagnosis::is_healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Sketch, diverging, healthy};
    use super::*;

    #[test]
    fn says_what_was_read_and_what_is_missing() {
        let read = RunDiagnosis::of(&diverging().layers(4, 1.0).trace());
        assert_eq!(
            (read.rows, read.first_step, read.last_step),
            (130, Some(0), Some(129))
        );
        assert_eq!(read.parameters, 4);
        assert_eq!(read.missing, ["weight_norm", "update_norm"]);
        assert!(matches!(read.state, RunState::Diverged { step: 100.. }));
        assert!(!read.is_healthy());
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<RunDiagnosis>(&json).unwrap(), read);
    }

    #[test]
    fn a_note_is_no_fault_and_an_empty_log_has_no_state() {
        assert!(RunDiagnosis::of(&healthy()).is_healthy());
        let rising = Sketch::healthy(200).norm(0, |row, norm| norm * (1.0 + row as f64 / 25.0));
        let read = RunDiagnosis::of(&rising.trace());
        assert!(read.is_healthy() && read.findings.len() == 1);
        let empty = RunDiagnosis::of(&Trace::default());
        assert_eq!(
            (empty.state, empty.rows, empty.first_step),
            (RunState::Unknown, 0, None)
        );
    }
}
