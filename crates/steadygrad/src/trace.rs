//! A run as its log tells it: series of numbers by what they stand for. What readers of logs hand
//! over and [`diagnose`](crate::diagnose) looks at.
//!
//! Values are in the order of the log. Steps may repeat, leave gaps, or go back where a run was
//! restarted; nothing is sorted or dropped. NaN and infinite values are kept: they are what one
//! looks for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a series stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Training loss.
    Loss,
    /// Loss on data that is not trained on.
    ValidationLoss,
    /// L2 norm of all gradients together, before clipping.
    GradNorm,
    /// The same as it was applied.
    GradNormClipped,
    /// L2 norm of one parameter's gradient, by the parameter's dotted path.
    ParameterGradNorm(String),
    /// L2 norm of all weights together.
    WeightNorm,
    /// L2 norm of the change that a step made to all weights.
    UpdateNorm,
    /// Learning rate as it was used; of a run of steadygrad, as it was asked for, before the guard lowered it.
    LearningRate,
    /// What the loss was multiplied by for a small number format.
    LossScale,
    /// Gradient values that are NaN or infinite.
    NonFinite,
    /// Gradient values that are subnormal.
    Subnormal,
    /// 1 where a guard did not apply the step, else 0.
    Skipped,
}

impl Role {
    /// The name of the column that a log would have for it.
    pub fn column(&self) -> String {
        match self {
            Role::Loss => "loss".into(),
            Role::ValidationLoss => "val_loss".into(),
            Role::GradNorm => "grad_norm".into(),
            Role::GradNormClipped => "grad_norm_clipped".into(),
            Role::ParameterGradNorm(parameter) => format!("grad_norm/{parameter}"),
            Role::WeightNorm => "weight_norm".into(),
            Role::UpdateNorm => "update_norm".into(),
            Role::LearningRate => "learning_rate".into(),
            Role::LossScale => "loss_scale".into(),
            Role::NonFinite => "non_finite".into(),
            Role::Subnormal => "subnormal".into(),
            Role::Skipped => "skipped".into(),
        }
    }
}

/// One column of a log, where it had values.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    role: Role,
    column: String,
    steps: Arc<[u64]>,
    values: Vec<f64>,
}

impl Series {
    /// A series. Columns that have a value in the same rows should share their steps.
    ///
    /// # Errors
    /// [`TraceError::Lengths`] when there is not one step for each value.
    pub fn new(
        role: Role,
        column: impl Into<String>,
        steps: Arc<[u64]>,
        values: Vec<f64>,
    ) -> Result<Self, TraceError> {
        let column = column.into();
        if steps.len() != values.len() {
            return Err(TraceError::Lengths {
                column,
                steps: steps.len(),
                values: values.len(),
            });
        }
        Ok(Self {
            role,
            column,
            steps,
            values,
        })
    }

    /// What it stands for.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The column's name in the log.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The step of each value, in the order of the log.
    pub fn steps(&self) -> &Arc<[u64]> {
        &self.steps
    }

    /// The values, in the order of the log.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// One run of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// The run's name: of its file or folder.
    pub name: String,
    /// The kind of log, for a person: `TensorBoard event file`.
    pub format: String,
    /// The columns whose meaning is known, one a role.
    pub series: Vec<Series>,
    /// Columns that were left out: their names say nothing that a rule looks at.
    pub unmatched: Vec<String>,
    /// What was odd about the log: restarts, gaps, lines that could not be read.
    pub notes: Vec<String>,
}

impl Trace {
    /// The series of this role.
    pub fn series(&self, role: &Role) -> Option<&Series> {
        self.series.iter().find(|series| series.role == *role)
    }

    /// The gradient norms by parameter, in the order of the log's columns.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.series.iter().filter_map(|series| match &series.role {
            Role::ParameterGradNorm(parameter) => Some((parameter.as_str(), series)),
            _ => None,
        })
    }

    /// The last step that any series has; `None` for an empty log.
    pub fn last_step(&self) -> Option<u64> {
        let last = |series: &Series| series.steps.last().copied();
        self.series.iter().filter_map(last).max()
    }
}

/// What can be wrong with a series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Not one step for each value.
    #[error("`{column}` has {steps} steps for {values} values: give one step for each value")]
    Lengths {
        /// The column.
        column: String,
        /// Its steps.
        steps: usize,
        /// Its values.
        values: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_one_step_for_each_value() {
        let of = |steps: &[u64], values: &[f64]| {
            Series::new(Role::Loss, "loss", steps.into(), values.to_vec())
        };
        let error = of(&[0, 1], &[1.0]).unwrap_err();
        assert!(error.to_string().contains("2 steps for 1 values"));
        let series = of(&[3, 1], &[f64::NAN, 2.0]).unwrap();
        let trace = Trace {
            series: vec![series, of(&[], &[]).unwrap()],
            ..Trace::default()
        };
        assert!(trace.series(&Role::Loss).unwrap().values()[0].is_nan());
        assert_eq!(trace.series(&Role::GradNorm), None);
        // The last of the log, not the largest: a run that went back to step 1 ended there.
        assert_eq!(trace.last_step(), Some(1));
        assert_eq!(Trace::default().last_step(), None);
    }
}
