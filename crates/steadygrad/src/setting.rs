//! Checks settings once, when a part is built from them.
//!
//! A part checks its own fields by their bare names. The owner of the part adds the path:
//!
//! ```
//! use steadygrad::setting::{self, SettingError};
//!
//! fn check_window(window: usize) -> Result<(), SettingError> {
//!     setting::count("window", window, 1, 64)
//! }
//!
//! let error = check_window(0).map_err(|error| error.within("norm_spike")).unwrap_err();
//! assert_eq!(error.to_string(), "norm_spike.window is 0; give a number from 1 to 64");
//! ```

use std::fmt::Display;

/// An invalid setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; {allowed}")]
pub struct SettingError {
    /// The path of the field, for example `norm_spike.bound.window`.
    pub field: String,
    /// The value of the field.
    pub found: String,
    /// What to give instead, for example `give a number from 1 to 128`.
    pub allowed: String,
}

impl SettingError {
    /// Returns the same error, with `parent` before the path of the field.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self {
            field: format!("{parent}.{}", self.field),
            ..self
        }
    }
}

/// Returns an error unless the value is `usable`. `allowed` says what to give instead.
///
/// # Errors
/// Names the field and the value.
pub fn check(
    field: &str,
    found: impl Display,
    usable: bool,
    allowed: impl Display,
) -> Result<(), SettingError> {
    if usable {
        return Ok(());
    }
    Err(SettingError {
        field: field.to_owned(),
        found: found.to_string(),
        allowed: allowed.to_string(),
    })
}

/// Refuses a number that is not finite or not above `bound`.
///
/// # Errors
/// Names the field, the value and the range.
pub fn above(field: &str, found: f64, bound: f64) -> Result<(), SettingError> {
    let usable = found.is_finite() && found > bound;
    let allowed = format_args!("give a number above {bound} and finite");
    check(field, found, usable, allowed)
}

/// Refuses a number that is not finite or below `least`.
///
/// # Errors
/// Names the field, the value and the range.
pub fn at_least(field: &str, found: f64, least: f64) -> Result<(), SettingError> {
    let usable = found.is_finite() && found >= least;
    let allowed = format_args!("give a finite number of at least {least}");
    check(field, found, usable, allowed)
}

/// Refuses a number outside `least..=most`, and NaN.
///
/// # Errors
/// Names the field, the value and the range.
pub fn between(field: &str, found: f64, least: f64, most: f64) -> Result<(), SettingError> {
    let usable = (least..=most).contains(&found);
    let allowed = format_args!("give a number from {least} to {most}");
    check(field, found, usable, allowed)
}

/// Refuses a count outside `least..=most`.
///
/// # Errors
/// Names the field, the value and the range.
pub fn count(field: &str, found: usize, least: usize, most: usize) -> Result<(), SettingError> {
    let usable = (least..=most).contains(&found);
    let allowed = format_args!("give a number from {least} to {most}");
    check(field, found, usable, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_finite_numbers_are_refused_and_bounds_are_kept() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(above("a", odd, 0.0).is_err());
            assert!(at_least("a", odd, 0.0).is_err());
            assert!(between("a", odd, 0.0, 1.0).is_err());
        }
        assert!(above("a", 0.0, 0.0).is_err() && above("a", 5e-324, 0.0).is_ok());
        assert!(at_least("a", 0.0, 0.0).is_ok() && at_least("a", -1.0, 0.0).is_err());
        for (value, usable) in [(0.0, true), (1.0, true), (1.1, false), (-0.1, false)] {
            assert_eq!(between("a", value, 0.0, 1.0).is_ok(), usable, "{value}");
        }
        for (value, usable) in [(0, false), (1, true), (3, true), (4, false)] {
            assert_eq!(count("a", value, 1, 3).is_ok(), usable, "{value}");
        }
    }

    #[test]
    fn an_error_names_the_path_the_value_and_what_to_give() {
        let error = above("z", f64::NAN, 0.0).unwrap_err();
        let error = error.within("bound").within("norm_spike").to_string();
        assert_eq!(
            error,
            "norm_spike.bound.z is NaN; give a number above 0 and finite"
        );
    }
}
