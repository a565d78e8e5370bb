use std::fmt::Display;

/// A policy's setting that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {found}; {allowed}")]
#[non_exhaustive]
pub struct ClipConfigError {
    /// The policy and its field, for example `zclip.alpha`.
    pub field: String,
    /// The value that it holds.
    pub found: String,
    /// What to give instead.
    pub allowed: String,
}

impl ClipConfigError {
    /// The same error, with the field as a part of `parent`.
    pub(super) fn within(self, parent: &str) -> Self {
        Self {
            field: format!("{parent}.{}", self.field),
            ..self
        }
    }
}

/// Refuses a value that is not `usable`; `allowed` says what to give instead.
pub(super) fn check(
    field: &str,
    found: impl Display,
    usable: bool,
    allowed: impl Display,
) -> Result<(), ClipConfigError> {
    if usable {
        return Ok(());
    }
    Err(ClipConfigError {
        field: field.to_owned(),
        found: found.to_string(),
        allowed: allowed.to_string(),
    })
}

/// Refuses a number that is not finite or not above `bound`.
pub(super) fn above(field: &str, found: f64, bound: f64) -> Result<(), ClipConfigError> {
    let usable = found.is_finite() && found > bound;
    let allowed = format_args!("give a number above {bound} and finite");
    check(field, found, usable, allowed)
}

/// Refuses a number that is not finite or below `least`.
pub(super) fn at_least(field: &str, found: f64, least: f64) -> Result<(), ClipConfigError> {
    let usable = found.is_finite() && found >= least;
    let allowed = format_args!("give a finite number of at least {least}");
    check(field, found, usable, allowed)
}

/// Refuses a number outside `least..=most`, and NaN.
pub(super) fn between(
    field: &str,
    found: f64,
    least: f64,
    most: f64,
) -> Result<(), ClipConfigError> {
    let usable = (least..=most).contains(&found);
    let allowed = format_args!("give a number from {least} to {most}");
    check(field, found, usable, allowed)
}
