/// What can be wrong with a fault.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// A setting that cannot be used.
    #[error("{field} is {found}: {allowed}")]
    Value {
        /// The fault and its field, for example `scaled_batch.factor`.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// A fault names a parameter that the model has not.
    #[error("the model has no parameter `{name}`{}", nearest.as_ref().map_or(String::new(), |near| format!(" (did you mean `{near}`?)")))]
    UnknownParameter {
        /// What was named.
        name: String,
        /// The model's parameter most like it.
        nearest: Option<String>,
    },
    /// A fault at a step that the run does not have.
    #[error(
        "the fault `{fault}` is at step {at_step}, but the run ends after {attempts} steps \
         (counted from 0): give a step below {attempts}, or train for longer"
    )]
    NeverReached {
        /// The fault's name.
        fault: &'static str,
        /// Its first step.
        at_step: u64,
        /// The steps of the run.
        attempts: u64,
    },
    /// The plan's clipping cannot be used.
    #[error(transparent)]
    Clip(#[from] steadygrad::setting::SettingError),
    /// The subject cannot distort its batches.
    #[error(
        "`{subject}` cannot distort its batches: implement `Subject::distorted_loss_and_gradients`, \
         or use faults of weights, gradients and learning rates only"
    )]
    CannotDistort {
        /// The subject's name.
        subject: String,
    },
}

/// That the setting can be used.
pub(super) fn check(
    field: &'static str,
    found: impl ToString,
    fine: bool,
    allowed: &'static str,
) -> Result<(), FaultError> {
    if fine {
        return Ok(());
    }
    Err(FaultError::Value {
        field,
        found: found.to_string(),
        allowed,
    })
}

/// That a fault lasts at least one step.
pub(super) fn check_steps(field: &'static str, steps: u64) -> Result<(), FaultError> {
    check(field, steps, steps > 0, "give at least 1")
}
