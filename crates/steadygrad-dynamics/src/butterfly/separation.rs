use serde::{Deserialize, Serialize};

use crate::float;

/// The distance between the values of two twins, and their size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// The L2 norm of the difference.
    #[serde(with = "float")]
    pub distance: f64,
    /// The mean of the two L2 norms.
    #[serde(with = "float")]
    pub size: f64,
}

impl Separation {
    /// Compares two lists of values, summed in f64. Values beyond the end of the shorter list are
    /// left out.
    pub fn between(a: &[f64], b: &[f64]) -> Self {
        let (mut difference, mut first, mut second) = (0.0, 0.0, 0.0);
        for (a, b) in a.iter().zip(b) {
            difference += (a - b).powi(2);
            first += a * a;
            second += b * b;
        }
        Self {
            distance: difference.sqrt(),
            size: 0.5 * (first.sqrt() + second.sqrt()),
        }
    }

    /// `distance / size`. 0 when both are zero, NaN when either is not finite.
    pub fn relative(&self) -> f64 {
        if !self.distance.is_finite() || !self.size.is_finite() {
            f64::NAN
        } else if self.distance == 0.0 {
            0.0
        } else {
            self.distance / self.size
        }
    }
}

/// The separation of the twins at one step, before its update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeparationStep {
    /// The number of updates done.
    pub step: u64,
    /// Between the two losses.
    pub loss: Separation,
    /// Between all weights.
    pub weights: Separation,
    /// Between all gradients.
    pub gradients: Separation,
}

/// A quantity in which twins are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TwinQuantity {
    /// The losses.
    Loss,
    /// The weights.
    Weights,
    /// The gradients.
    Gradients,
}

impl TwinQuantity {
    /// The relative separation in this quantity.
    pub(super) fn of(self, step: &SeparationStep) -> f64 {
        match self {
            TwinQuantity::Loss => step.loss.relative(),
            TwinQuantity::Weights => step.weights.relative(),
            TwinQuantity::Gradients => step.gradients.relative(),
        }
    }
}
