use serde::{Deserialize, Serialize};

use crate::float;

/// The growth of the weight norm over the healthy part of a run. That part ends before the first
/// detection of an explosion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightGrowth {
    /// L2 norm of all weights before the first update.
    #[serde(with = "float")]
    pub start: f64,
    /// L2 norm of all weights after the last update.
    #[serde(with = "float")]
    pub end: f64,
    /// Number of updates, at least 1.
    pub updates: u64,
    /// Mean learning rate of these updates.
    #[serde(with = "float")]
    pub learning_rate: f64,
}

impl WeightGrowth {
    /// Returns the natural logarithm of the norm's factor per update: `ln(end / start) / updates`.
    /// It is not finite if a norm is zero or not finite.
    pub fn log_growth(&self) -> f64 {
        (self.end / self.start).ln() / self.updates as f64
    }
}
