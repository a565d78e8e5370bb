use crate::setting::SettingError;

/// The settings of a guard cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardConfigError {
    /// A number is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The policy needs more than one look at the gradients, or looks at the update.
    #[error(
        "the guard cannot run a {policy}: it decides once, on the gradients; run that policy in \
         the adapter's own clipper, and leave `clip` out here"
    )]
    Policy {
        /// Which kind.
        policy: &'static str,
    },
    /// No preset has this name.
    #[error("`{found}` is no preset; give one of observe, careful, default, aggressive")]
    Preset {
        /// The name that was given.
        found: String,
    },
}
