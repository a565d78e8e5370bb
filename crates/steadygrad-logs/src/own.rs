//! A run of steadygrad.

use std::path::Path;
use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::record::{StepRecord, StepTable, read_steps};
use steadygrad::trace::{Role, Series};

use crate::{LogError, name_of, odd};

/// The file that makes a folder a run.
pub(crate) const STEPS: &str = "steps.arrow";

/// Decisions that do not apply the step.
const NOT_APPLIED: [&str; 4] = ["skip", "lower_learning_rate", "rollback", "stop"];

/// Reads the folder of a run. Rows that a checksum does not vouch for are left out and told.
pub(crate) fn read(path: &Path) -> Result<Trace, LogError> {
    let found = read_steps(path)?;
    let mut trace = trace(&found.value);
    trace.name = name_of(path);
    trace
        .notes
        .extend(found.problems.iter().map(ToString::to_string));
    Ok(trace)
}

fn trace(table: &StepTable) -> Trace {
    let steps: Arc<[u64]> = table.rows.iter().map(|row| row.step).collect();
    let column = |role: Role, value: &dyn Fn(&StepRecord) -> f64| {
        let values = table.rows.iter().map(value).collect();
        let name = role.column();
        Series::new(role, name, steps.clone(), values).ok()
    };
    let mut series: Vec<Series> = [
        column(Role::Loss, &|row| row.loss),
        column(Role::GradNorm, &|row| row.grad_norm),
        column(Role::GradNormClipped, &|row| row.grad_norm_clipped),
        column(Role::LearningRate, &|row| {
            row.learning_rate * row.learning_rate_scale
        }),
        column(Role::NonFinite, &|row| row.non_finite as f64),
        column(Role::Subnormal, &|row| row.subnormal as f64),
        column(Role::Skipped, &|row| {
            f64::from(u8::from(NOT_APPLIED.contains(&row.decision.as_str())))
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    let measured = |role: Role, value: &dyn Fn(&StepRecord) -> Option<f64>| {
        let rows = table.rows.iter();
        let (at, norms): (Vec<u64>, Vec<f64>) =
            rows.filter_map(|row| Some((row.step, value(row)?))).unzip();
        let name = role.column();
        (!at.is_empty()).then(|| Series::new(role, name, at.into(), norms).ok())?
    };
    series.extend(measured(Role::UpdateNorm, &|row| row.update_norm));
    series.extend(measured(Role::WeightNorm, &|row| row.weight_norm));
    for (index, parameter) in table.parameters.iter().enumerate() {
        let norm = |row: &StepRecord| row.tensor_norms.get(index).copied().unwrap_or(f64::NAN);
        series.extend(column(Role::ParameterGradNorm(parameter.clone()), &norm));
    }
    let notes = odd::notes(&series);
    Trace {
        format: "run of steadygrad".into(),
        series,
        notes,
        ..Trace::default()
    }
}
