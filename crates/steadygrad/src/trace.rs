//! The numbers of a run, read from its log. Log readers build a [`Trace`], and
//! [`diagnose`](crate::diagnose) reads it.
//!
//! Values keep the order of the log. Steps may repeat, have gaps, or go back after a restart.
//! Nothing is sorted or dropped. NaN and infinite values are kept, because diagnosis looks for
//! them.
//!
//! ```
//! use steadygrad::trace::{Role, Series, Trace};
//!
//! let loss = Series::new(Role::Loss, "train/loss", [0, 1, 2].into(), vec![2.3, 2.1, f64::NAN])?;
//! let trace = Trace { name: "run-1".into(), series: vec![loss], ..Trace::default() };
//! assert_eq!(trace.last_step(), Some(2));
//! assert!(trace.series(&Role::Loss).is_some_and(|loss| loss.values()[2].is_nan()));
//! # Ok::<(), steadygrad::trace::TraceError>(())
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The meaning of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The training loss.
    Loss,
    /// The loss on held-out data.
    ValidationLoss,
    /// The L2 norm of all gradients together, before clipping.
    GradNorm,
    /// The L2 norm of all gradients together, after clipping.
    GradNormClipped,
    /// The L2 norm of one parameter's gradient, with the parameter's dotted path.
    ParameterGradNorm(String),
    /// The L2 norm of all weights together.
    WeightNorm,
    /// The L2 norm of one step's update of all weights.
    UpdateNorm,
    /// The learning rate of the step. In a steadygrad run it is the requested rate, before the
    /// guard lowers it.
    LearningRate,
    /// The loss scale of mixed-precision training, which multiplies the loss.
    LossScale,
    /// The number of gradient values that are NaN or infinite.
    NonFinite,
    /// The number of gradient values that are subnormal.
    Subnormal,
    /// 1 if a guard skipped the step, 0 otherwise.
    Skipped,
    /// One of several losses, with its name: a summand of the loss, or the loss of one of two
    /// networks.
    LossPart(String),
    /// The divergence of a policy from its reference, or from the policy before the update.
    Kl,
    /// The loss of a value function.
    ValueLoss,
    /// What an agent or a policy earned. More is better.
    Reward,
}

impl Role {
    /// Returns the usual column name of this role in a log.
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
            Role::LossPart(name) => name.clone(),
            Role::Kl => "kl".into(),
            Role::ValueLoss => "value_loss".into(),
            Role::Reward => "reward".into(),
        }
    }
}

/// What one row of a log stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cadence {
    /// The log does not say.
    #[default]
    Unknown,
    /// One optimizer step.
    Step,
    /// This many steps: their mean, or the last of them.
    Steps(u64),
    /// One pass over the data.
    Epoch,
}

impl Cadence {
    /// Whether each row is one step, so that a row is one batch.
    pub fn is_one_step(self) -> bool {
        matches!(self, Self::Step | Self::Steps(1))
    }
}

/// What the steps of a log's series count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepUnit {
    /// Optimizer steps.
    #[default]
    Step,
    /// Rows of the log, from 0: the log has no step.
    Row,
    /// Passes over the data.
    Epoch,
    /// Steps of a simulated environment, many for each update.
    EnvironmentStep,
}

impl StepUnit {
    /// Returns the word that stands before a number: `step`, for example.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Row => "row",
            Self::Epoch => "epoch",
            Self::EnvironmentStep => "environment step",
        }
    }
}

/// What kind of training a log is of. It decides whether a falling loss is progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// One loss that training lowers.
    #[default]
    Supervised,
    /// Two networks against each other: neither loss measures progress.
    Gan,
    /// A policy or a value function: rewards measure progress, losses do not.
    Rl,
}

/// One column of a log, without the rows that have no value.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    role: Role,
    column: String,
    steps: Arc<[u64]>,
    values: Vec<f64>,
}

impl Series {
    /// Makes a series. Columns with values in the same rows should share one `steps`.
    ///
    /// # Errors
    /// [`TraceError::Lengths`] when the numbers of steps and values differ.
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

    /// The meaning of the series.
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
    /// The name of the run, taken from its file or folder.
    pub name: String,
    /// The kind of log, for display: `TensorBoard event file`.
    pub format: String,
    /// The columns with a known meaning, one for each role.
    pub series: Vec<Series>,
    /// The columns left out because no rule reads a column of that name.
    pub unmatched: Vec<String>,
    /// The oddities of the log, such as restarts, gaps and unreadable lines.
    pub notes: Vec<String>,
    /// What one row stands for.
    pub cadence: Cadence,
    /// What the steps of the series count.
    pub unit: StepUnit,
    /// What kind of training it is, judged by the names in the log.
    pub objective: Objective,
    /// Why the log ends before the run was done, in words: `744 of 3,000 steps, and its process is
    /// gone`. `None` where the run ended as planned, or the log does not tell.
    pub cut_short: Option<String>,
}

impl Trace {
    /// Returns the series of this role, or `None` if the log has none.
    pub fn series(&self, role: &Role) -> Option<&Series> {
        self.series.iter().find(|series| series.role == *role)
    }

    /// Returns the gradient norms by parameter, in the order of the log's columns.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.series.iter().filter_map(|series| match &series.role {
            Role::ParameterGradNorm(parameter) => Some((parameter.as_str(), series)),
            _ => None,
        })
    }

    /// Whether a row is one step of the optimizer, and so one batch.
    pub(crate) fn is_by_step(&self) -> bool {
        self.cadence.is_one_step() && self.unit != StepUnit::EnvironmentStep
    }

    /// Returns the largest of the series' last steps, or `None` for an empty log.
    pub fn last_step(&self) -> Option<u64> {
        let last = |series: &Series| series.steps.last().copied();
        self.series.iter().filter_map(last).max()
    }
}

/// An error in the data of a series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The numbers of steps and values differ.
    #[error("`{column}` has {steps} steps for {values} values; give one step for each value")]
    Lengths {
        /// The name of the column.
        column: String,
        /// The number of steps.
        steps: usize,
        /// The number of values.
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
        // This is the last step of the log, not the largest: the run went back to step 1 and ended.
        assert_eq!(trace.last_step(), Some(1));
        assert_eq!(Trace::default().last_step(), None);
    }
}
