/// Why a fault cannot be put into a run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A setting is out of range.
    #[error("{field} is {found}: {allowed}")]
    Value {
        /// The fault and its field, for example `scaled_batch.factor`.
        field: &'static str,
        /// The value.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A fault names a parameter that the model does not have.
    #[error(
        "the model has no parameter `{name}`{}",
        nearest.as_ref().map_or(String::new(), |near| format!(" (did you mean `{near}`?)"))
    )]
    UnknownParameter {
        /// The name.
        name: String,
        /// The model's parameter with the most similar name.
        nearest: Option<String>,
    },
    /// A fault begins after the run's last step.
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
    /// The plan's clip has a setting out of range.
    #[error(transparent)]
    Clip(#[from] steadygrad::clip::ClipConfigError),
    /// The subject cannot distort its batches.
    #[error(
        "`{subject}` cannot distort its batches: implement \
         `Subject::distorted_loss_and_gradients`, or use faults of weights, gradients and learning \
         rates only"
    )]
    CannotDistort {
        /// The subject's name.
        subject: String,
    },
}

/// Checks one setting.
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

/// Checks that a fault lasts for at least one step.
pub(super) fn check_steps(field: &'static str, steps: u64) -> Result<(), FaultError> {
    check(field, steps, steps > 0, "give at least 1")
}

/// Checks that a setting is positive and finite.
pub(super) fn check_positive(field: &'static str, value: f64) -> Result<(), FaultError> {
    let fine = value.is_finite() && value > 0.0;
    check(field, value, fine, "give a positive, finite number")
}

/// Checks the factor of a fault that builds up.
pub(super) fn check_growth(field: &'static str, factor: f64) -> Result<(), FaultError> {
    let fine = factor.is_finite() && factor > 1.0;
    check(field, factor, fine, "give a finite number above 1")
}

/// Checks that an input changes to a number. `poisoned_batch` is for the others.
pub(super) fn check_finite(field: &'static str, value: f32) -> Result<(), FaultError> {
    let allowed = "give a finite number; for NaN and infinity there is poisoned_batch";
    check(field, value, value.is_finite(), allowed)
}
