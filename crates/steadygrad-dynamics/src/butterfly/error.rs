use serde::{Deserialize, Serialize};

use super::ButterflySettings;

/// An exponent that could not be fitted, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ButterflyError {
    /// The settings contradict themselves.
    #[error(
        "resolution, tolerance and saturation must be positive and finite, the saturation above \
         ten times the resolution, and min_points at least 3: {0:?}"
    )]
    Settings(ButterflySettings),
    /// Too few separations lie between round-off and saturation.
    #[error(
        "{found} separations lie between round-off and saturation in one run, and an exponent \
         needs {needed}; measure more steps"
    )]
    TooFewPoints {
        /// The number of separations between the two.
        found: usize,
        /// The number that the settings ask for.
        needed: usize,
    },
    /// The twins were never both finite.
    #[error("the twins are not finite at their first step, {step}; start from finite weights")]
    NonFinite {
        /// The step.
        step: u64,
    },
    /// The steps are not counted upwards.
    #[error("step {step} does not come after the one before it; give the steps in order")]
    Order {
        /// The step.
        step: u64,
    },
}
