//! Logs in which each value has a step of its own: event files, MLflow, Trackio.

use std::path::Path;

use steadygrad::Trace;
use steadygrad::trace::{Objective, Role, Series, StepUnit};

use crate::cadence::Counted;
use crate::finish::Run;
use crate::names::{is_loss_part, plain, role};
use crate::roles::select;
use crate::{Columns, LogError};

/// Names, and for each its steps and values.
pub(crate) type Values = (Vec<String>, Vec<(Vec<u64>, Vec<f64>)>);

/// Whether a column of this name may be read, whatever else is in the log.
pub(crate) fn is_read(name: &str) -> bool {
    [Objective::Supervised, Objective::Gan, Objective::Rl]
        .into_iter()
        .any(|kind| role(name, kind).is_some() || is_loss_part(name, kind))
}

/// Makes the trace of values with their own steps.
pub(crate) fn trace(
    path: &Path,
    name: String,
    format: &str,
    (names, mut values): Values,
    columns: &Columns,
    mut notes: Vec<String>,
) -> Result<Trace, LogError> {
    let mut selection = select(path, &names, columns)?;
    // Every value has its own step. A column that is called `step` does not replace it.
    let steps = selection
        .steps
        .iter()
        .map(|(index, _)| names[*index].clone());
    selection.unmatched.extend(steps);
    let series = selection.roles.into_iter().filter_map(|(index, role)| {
        let (steps, values) = std::mem::take(values.get_mut(index)?);
        let some = !values.is_empty();
        some.then(|| Series::new(role, names[index].clone(), steps.into(), values).ok())?
    });
    let series: Vec<Series> = series.collect();
    let counted = counted(&names, &series, selection.objective);
    notes.extend(selection.notes);
    let run = Run {
        name,
        format: format.into(),
        series,
        unmatched: selection.unmatched,
        notes,
        objective: selection.objective,
        counted,
    };
    Ok(run.trace())
}

/// What the steps count, by the tools' own names.
fn counted(names: &[String], series: &[Series], objective: Objective) -> Counted {
    let is_any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    // Stable-Baselines3 and CleanRL log at steps of the environment.
    let is_environment = objective == Objective::Rl
        && is_any(&|name| name.starts_with("rollout/") || name.starts_with("charts/"));
    // Keras's callback: `epoch_loss`.
    let is_epoch = series
        .iter()
        .any(|series| *series.role() == Role::Loss && plain(series.column()).starts_with("epoch_"));
    Counted {
        unit: match (is_environment, is_epoch) {
            (true, _) => StepUnit::EnvironmentStep,
            (false, true) => StepUnit::Epoch,
            (false, false) => StepUnit::Step,
        },
        counts_updates: true,
        is_by_epoch: false,
    }
}
