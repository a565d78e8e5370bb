use steadygrad::setting::SettingError;

/// Why a fault cannot be put into a run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A setting of a fault, or of the plan's clip, is out of range. A fault's setting is named
    /// with its fault, as `scaled_batch.factor`.
    #[error(transparent)]
    Setting(#[from] SettingError),
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
