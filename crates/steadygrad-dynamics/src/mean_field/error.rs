use thiserror::Error;

/// A scale or a signal that no random network has.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum MeanFieldError {
    /// The weight scale is negative, NaN or too large.
    #[error("`sigma_w` is {0}; give a number from 0 to 1e75")]
    SigmaW(f64),
    /// The bias scale is negative, NaN or too large.
    #[error("`sigma_b` is {0}; give a number from 0 to 1e75")]
    SigmaB(f64),
    /// The variance of the first pre-activations is negative, NaN or infinite.
    #[error("`q` is {0}; give a finite number, zero or more")]
    Length(f64),
}

/// The variance itself, when it is finite and not negative.
pub(super) fn checked_variance(q: f64) -> Result<f64, MeanFieldError> {
    if q.is_finite() && q >= 0.0 {
        Ok(q)
    } else {
        Err(MeanFieldError::Length(q))
    }
}
