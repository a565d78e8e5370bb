//! What a log holds, and how its run ended.

use steadygrad::diagnose::{DivergenceForecast, RunDiagnosis, RunState};
use steadygrad::trace::{Cadence, Objective, StepUnit};

use super::finding::range;
use crate::number;

/// What was read: the kind of log, its length, and what one row is.
pub(crate) fn log(run: &RunDiagnosis) -> String {
    let mut parts = vec![run.format.clone(), number::count(run.rows as u64, "row")];
    // Rows that are counted from 0 say nothing more.
    if let (Some(first), Some(last)) = (run.first_step, run.last_step)
        && run.unit != StepUnit::Row
    {
        parts.push(range(first, last, run.unit));
    }
    parts.extend(cadence(run.cadence));
    parts.join(", ")
}

fn cadence(cadence: Cadence) -> Option<String> {
    match cadence {
        Cadence::Step | Cadence::Steps(1) => Some("a row is one step".into()),
        Cadence::Steps(steps) => Some(format!("a row is {steps} steps")),
        Cadence::Epoch => Some("a row is an epoch".into()),
        _ => None,
    }
}

/// What was read, with the column's name where it differs.
pub(crate) struct ReadColumn<'a> {
    pub(crate) role: String,
    pub(crate) from: Option<&'a str>,
}

/// The columns that were read. The norms of single parameters count as one.
pub(crate) fn columns(run: &RunDiagnosis) -> Vec<ReadColumn<'_>> {
    let mut columns: Vec<ReadColumn<'_>> = run
        .matched
        .iter()
        .map(|matched| ReadColumn {
            role: matched.role.clone(),
            from: (matched.role != matched.column).then_some(matched.column.as_str()),
        })
        .collect();
    if run.parameters > 0 {
        let parameters = number::count(run.parameters as u64, "parameter");
        columns.push(ReadColumn {
            role: format!("gradient norms of {parameters}"),
            from: None,
        });
    }
    columns
}

/// The kind of training, where a loss is no measure of progress.
pub(crate) fn objective(run: &RunDiagnosis) -> Option<&'static str> {
    match run.objective {
        Objective::Gan => Some(
            "GAN: the rules that need a falling loss are off; `--objective supervised` turns them \
             on",
        ),
        Objective::Rl => Some(
            "reinforcement learning: the rules that need a falling loss are off; `--objective \
             supervised` turns them on",
        ),
        _ => None,
    }
}

/// Whether the log could have shown a fault, and shows none.
pub(crate) fn is_good(run: &RunDiagnosis) -> bool {
    run.state == RunState::Alive && run.is_healthy()
}

/// How a run ended, in words.
pub(crate) fn state(run: &RunDiagnosis) -> String {
    let unit = run.unit.name();
    match run.state {
        RunState::Alive if is_good(run) => "healthy: nothing is wrong".into(),
        RunState::Alive | RunState::NothingSeen if run.cut_short.is_some() => {
            "not finished: the log ends before the run was done".into()
        }
        RunState::NothingSeen if run.is_healthy() => {
            "nothing seen: no rule found a fault, but this log could not have shown every one"
                .into()
        }
        RunState::Alive | RunState::NothingSeen => "alive at the end of the log".into(),
        RunState::NonFinite { step } => format!("lost: not finite from {unit} {step} on"),
        RunState::Diverged { step } => {
            format!("lost: its numbers grew out of bounds from {unit} {step} on")
        }
        RunState::Relapsed { step } => {
            format!("lost: the loss is back where it began, or above, from {unit} {step} on")
        }
        _ => "nothing to judge: the log has neither a loss nor a gradient norm".into(),
    }
}

/// What the log could not have shown, for a run that is not known to be lost.
pub(crate) fn unseen(run: &RunDiagnosis) -> &[String] {
    match run.state {
        RunState::Alive | RunState::NothingSeen => &run.unseen,
        _ => &[],
    }
}

/// Why the log ends before the run was done, unless [`unseen`] says so.
pub(crate) fn cut_short(run: &RunDiagnosis) -> Option<&str> {
    let reason = run.cut_short.as_deref()?;
    let is_said = unseen(run).iter().any(|sentence| sentence.contains(reason));
    (!is_said).then_some(reason)
}

/// Runs that need a look, in one sentence for several runs.
pub(crate) fn runs(runs: &[RunDiagnosis]) -> String {
    let all = runs.len();
    let of = |count: usize, what: &str| format!("{count} of {all} runs {what}");
    let findings = |count: usize| match count {
        1 => of(count, "has findings or is not finished"),
        _ => of(count, "have findings or are not finished"),
    };
    let troubled = runs.iter().filter(|run| !run.is_healthy()).count();
    let good = runs.iter().filter(|run| is_good(run)).count();
    match all - troubled - good {
        0 => findings(troubled),
        unclear => format!(
            "{}; {}",
            findings(troubled),
            of(unclear, "could not show every fault")
        ),
    }
}

/// The forecast for a short run that is alive, in words: how other runs ended is known. It was
/// fitted to logs with one row a step and a loss that training lowers.
pub(crate) fn forecast(run: &RunDiagnosis) -> Option<String> {
    let forecast = run.forecast.as_ref()?;
    if !run.cadence.is_one_step() || run.objective != Objective::Supervised {
        return None;
    }
    let is_alive = matches!(run.state, RunState::Alive | RunState::NothingSeen);
    let begun = is_alive && run.last_step? < DivergenceForecast::BUDGET;
    begun.then(|| {
        format!(
            "{} probability that it diverges within {} steps, from its first rows alone",
            number::probability(forecast.probability),
            DivergenceForecast::BUDGET
        )
    })
}
