use serde::{Deserialize, Serialize};

use crate::float;

/// The mean natural logarithm of growth along one direction: a Lyapunov exponent, or a rate per
/// step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exponent {
    /// The natural logarithm of the growth per unit of time, or per step.
    #[serde(with = "float")]
    pub value: f64,
    /// The standard error of `value`; `None` where the source has no error. The source says how it
    /// is computed: see [`LyapunovSpectrum::exponents`](crate::LyapunovSpectrum::exponents),
    /// [`GrowthSpectrum::exponents`](crate::GrowthSpectrum::exponents) and
    /// [`GrowthProfile::backward_log_growth`](crate::GrowthProfile::backward_log_growth).
    #[serde(with = "float::option")]
    pub standard_error: Option<f64>,
}
