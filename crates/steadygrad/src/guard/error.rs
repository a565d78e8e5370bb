use crate::clip::ClipConfigError;

/// A setting of a guard that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GuardConfigError {
    /// A number outside its range.
    #[error("{field} is {found}; give a number {allowed}")]
    Range {
        /// The part and its field, for example `norm_spike.bound.window`.
        field: &'static str,
        /// What it holds.
        found: f64,
        /// What it may hold.
        allowed: String,
    },
    /// The clipping policy's own setting.
    #[error(transparent)]
    Clip(#[from] ClipConfigError),
    /// The policy needs more than one look at the gradients, or looks at the update.
    #[error(
        "the guard cannot run a {policy}: it decides once, on the gradients; run that policy in the \
         adapter's own clipper, and leave `clip` out here"
    )]
    Policy {
        /// Which kind.
        policy: &'static str,
    },
    /// No preset of this name.
    #[error("`{found}` is no preset; give one of observe, careful, default, aggressive")]
    Preset {
        /// What was given.
        found: String,
    },
}

fn range(
    field: &'static str,
    found: f64,
    fine: bool,
    allowed: impl FnOnce() -> String,
) -> Result<(), GuardConfigError> {
    if fine {
        Ok(())
    } else {
        Err(GuardConfigError::Range {
            field,
            found,
            allowed: allowed(),
        })
    }
}

/// That the field is finite and above a number.
pub(crate) fn above(field: &'static str, found: f64, least: f64) -> Result<(), GuardConfigError> {
    range(field, found, found.is_finite() && found > least, || {
        format!("above {least} and finite")
    })
}

/// That the field is finite and not below a number.
pub(crate) fn at_least(
    field: &'static str,
    found: f64,
    least: f64,
) -> Result<(), GuardConfigError> {
    range(field, found, found.is_finite() && found >= least, || {
        format!("from {least} on, finite")
    })
}

/// That the field is from one number to another.
pub(crate) fn between(
    field: &'static str,
    found: f64,
    least: f64,
    most: f64,
) -> Result<(), GuardConfigError> {
    range(field, found, (least..=most).contains(&found), || {
        format!("from {least} to {most}")
    })
}

/// That the field is a count from one number to another.
pub(crate) fn count(
    field: &'static str,
    found: usize,
    least: usize,
    most: usize,
) -> Result<(), GuardConfigError> {
    range(field, found as f64, (least..=most).contains(&found), || {
        format!("from {least} to {most}")
    })
}
