/// A policy's setting that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {found}; {allowed}")]
pub struct ClipConfigError {
    /// The policy and its field, for example `zclip.alpha`.
    pub field: &'static str,
    /// What it holds.
    pub found: f64,
    /// What it may hold.
    pub allowed: &'static str,
}

/// That the field holds a positive, finite number.
pub(super) fn positive(field: &'static str, found: f64) -> Result<(), ClipConfigError> {
    check(
        field,
        found,
        found.is_finite() && found > 0.0,
        "give a positive, finite number",
    )
}

/// That the field holds a finite number of at least zero.
pub(super) fn not_negative(field: &'static str, found: f64) -> Result<(), ClipConfigError> {
    check(
        field,
        found,
        found.is_finite() && found >= 0.0,
        "give a finite number, zero or more",
    )
}

/// That the field holds a share in `0..1`.
pub(super) fn share(field: &'static str, found: f64) -> Result<(), ClipConfigError> {
    check(
        field,
        found,
        (0.0..1.0).contains(&found),
        "give a number from 0 up to, not including, 1",
    )
}

pub(super) fn check(
    field: &'static str,
    found: f64,
    fine: bool,
    allowed: &'static str,
) -> Result<(), ClipConfigError> {
    if fine {
        Ok(())
    } else {
        Err(ClipConfigError {
            field,
            found,
            allowed,
        })
    }
}
