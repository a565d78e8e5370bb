//! Logs in which each value has a step of its own: event files, MLflow, Trackio.

use std::path::Path;

use steadygrad::Trace;
use steadygrad::trace::{Objective, Role, Series, StepUnit};

use crate::cadence::{Counted, stride};
use crate::finish::Run;
use crate::names::{is_loss_part, plain, role, words};
use crate::roles::select;
use crate::{Columns, LogError, name_of};

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
    (names, values): Values,
    columns: &Columns,
    notes: Vec<String>,
) -> Result<Trace, LogError> {
    let mut run = run(path, name, format, (names, values), columns, notes)?;
    run.counted.counts_updates = counts_updates(&run.series);
    Ok(run.trace())
}

/// Makes the trace of values whose steps are known to be single updates.
pub(crate) fn trace_of_updates(
    path: &Path,
    format: &str,
    values: Values,
    columns: &Columns,
    notes: Vec<String>,
) -> Result<Trace, LogError> {
    Ok(run(path, name_of(path), format, values, columns, notes)?.trace())
}

fn run(
    path: &Path,
    name: String,
    format: &str,
    (names, mut values): Values,
    columns: &Columns,
    mut notes: Vec<String>,
) -> Result<Run, LogError> {
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
    Ok(Run {
        name,
        format: format.into(),
        series,
        unmatched: selection.unmatched,
        notes,
        objective: selection.objective,
        counted,
    })
}

/// Whether the steps count updates, as far as the log shows.
///
/// The number beside a value is what the user passed, and many pass the epoch. Steps that lie apart
/// are of some count of steps. Steps without a gap are updates if a gradient norm or a name such as
/// `loss_step` belongs to them, or if there are more of them than a training has epochs.
fn counts_updates(series: &[Series]) -> bool {
    // A thousand epochs are rare even on small data.
    const MANY: usize = 1000;
    let of = |role: Role| series.iter().find(|series| *series.role() == role);
    let Some(main) = of(Role::Loss).or(of(Role::GradNorm)) else {
        return true;
    };
    let is_single = |word: &String| ["step", "batch", "iter"].contains(&word.as_str());
    stride(main.steps()) != Some(1)
        || of(Role::GradNorm).is_some()
        || words(main.column()).iter().any(is_single)
        || main.values().len() > MANY
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

#[cfg(test)]
mod tests {
    use steadygrad::trace::Cadence;

    use super::*;

    fn of(columns: &[(&str, &[u64])]) -> Trace {
        let column = |(name, steps): &(&str, &[u64])| {
            ((*name).to_owned(), (steps.to_vec(), vec![1.0; steps.len()]))
        };
        let values = columns.iter().map(column).unzip();
        let path = Path::new("log");
        trace(path, "n".into(), "f", values, &Columns::default(), vec![]).unwrap()
    }

    #[test]
    fn what_the_number_beside_a_value_counts() {
        let each = [0, 1, 2, 3];
        assert_eq!(of(&[("loss", &each)]).cadence, Cadence::Unknown);
        assert_eq!(of(&[("loss_step", &each)]).cadence, Cadence::Step);
        assert_eq!(
            of(&[("loss", &each), ("grad_norm", &each)]).cadence,
            Cadence::Step
        );
        assert_eq!(of(&[("loss", &[0, 50, 100])]).cadence, Cadence::Steps(50));
        assert_eq!(of(&[("epoch_loss", &each)]).unit, StepUnit::Epoch);
        let agent = of(&[("rollout/ep_rew_mean", &each), ("train/loss", &each)]);
        assert_eq!(
            (agent.unit, agent.cadence),
            (StepUnit::EnvironmentStep, Cadence::Unknown)
        );
        let many: Vec<u64> = (0..1001).collect();
        assert_eq!(of(&[("loss", &many)]).cadence, Cadence::Step);
    }

    #[test]
    fn a_column_called_step_does_not_replace_the_steps() {
        let trace = of(&[("step", &[7, 8]), ("loss", &[10, 20])]);
        assert_eq!(&**trace.series[0].steps(), [10, 20]);
        assert_eq!(trace.unmatched, ["step"]);
    }
}
