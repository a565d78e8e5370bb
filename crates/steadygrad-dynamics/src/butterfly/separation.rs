use serde::{Deserialize, Serialize};

use crate::float;

/// How far apart the twins' values are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// L2 norm of the difference.
    #[serde(with = "float")]
    pub distance: f64,
    /// Mean of the two L2 norms.
    #[serde(with = "float")]
    pub size: f64,
}

impl Separation {
    /// Between two lists of values, summed in f64. Values beyond the shorter list's end are
    /// compared with nothing and left out.
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

    /// `distance / size`; 0 when both are zero, NaN when either is not finite.
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

/// The twins at one step, before its update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeparationStep {
    /// Number of updates done.
    pub step: u64,
    /// The two losses.
    pub loss: Separation,
    /// All weights.
    pub weights: Separation,
    /// All gradients.
    pub gradients: Separation,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// The losses.
    Loss,
    /// The weights.
    Weights,
    /// The gradients.
    Gradients,
}

impl Series {
    pub(super) fn of(self, step: &SeparationStep) -> f64 {
        match self {
            Series::Loss => step.loss.relative(),
            Series::Weights => step.weights.relative(),
            Series::Gradients => step.gradients.relative(),
        }
    }
}
