use serde::{Deserialize, Serialize};

use crate::float;

/// How separations are read. Every bound is relative: a distance over the size of the values that
/// are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ButterflySettings {
    /// The resolution of the numbers that the twins were computed in: `f64::EPSILON`, or
    /// `f32::EPSILON` as f64. Positive and finite.
    #[serde(with = "float")]
    pub resolution: f64,
    /// Separations are fitted up to here. Second-order terms have the relative size of the
    /// separation, so the default of 0.01 keeps them to a hundredth of the first-order ones.
    /// Finite, and above ten times the resolution.
    #[serde(with = "float")]
    pub saturation: f64,
    /// The separation at which one twin no longer predicts the other. Positive and finite.
    #[serde(with = "float")]
    pub tolerance: f64,
    /// The fewest points that an exponent is fitted to; at least 3.
    pub min_points: usize,
}

impl ButterflySettings {
    /// At ten times the resolution, round-off is at most a tenth of the separation.
    const FLOOR_FACTOR: f64 = 10.0;

    /// Settings for twins computed at this resolution, with saturation 0.01, tolerance 0.1 and
    /// eight points.
    pub fn new(resolution: f64) -> Self {
        Self {
            resolution,
            saturation: 0.01,
            tolerance: 0.1,
            min_points: 8,
        }
    }

    /// Fits separations up to here.
    pub fn with_saturation(self, saturation: f64) -> Self {
        Self { saturation, ..self }
    }

    /// Sets the separation at which one twin no longer predicts the other.
    pub fn with_tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// Sets the fewest points that an exponent is fitted to.
    pub fn with_min_points(self, min_points: usize) -> Self {
        Self { min_points, ..self }
    }

    /// The separation up to which all is round-off: ten times the resolution.
    pub fn floor(&self) -> f64 {
        Self::FLOOR_FACTOR * self.resolution
    }

    /// Whether every setting is in its range.
    pub(super) fn are_usable(&self) -> bool {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        positive(self.resolution)
            && positive(self.tolerance)
            && positive(self.saturation)
            && self.saturation > self.floor()
            && self.min_points >= 3
    }
}
