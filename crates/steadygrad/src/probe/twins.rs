use serde::{Deserialize, Serialize};

use crate::dynamics::{Butterfly, ButterflyError};
use crate::float;

/// What two twins differ in at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Perturbed {
    /// All weights, moved together in one random direction.
    Weights,
    /// The training inputs, each moved in a random direction of its own, the same at every visit.
    /// Of a sequence, the input of its first time step.
    Inputs,
}

/// Twins that were trained, how they differed, and how they parted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinRun {
    /// What they differed in.
    pub perturbed: Perturbed,
    /// The relative difference that was asked for.
    #[serde(with = "float")]
    pub requested: f64,
    /// The one that was made: larger where the numbers cannot hold what was asked for.
    #[serde(with = "float")]
    pub applied: f64,
    /// Resolution of the numbers that they were trained in: `f64::EPSILON`, or `f32::EPSILON`.
    #[serde(with = "float")]
    pub resolution: f64,
    /// Updates that each was to make.
    pub updates: u64,
    /// Rows a step.
    pub batch_size: usize,
    /// How they parted, or why nothing is known of it.
    pub outcome: Result<Butterfly, ButterflyError>,
}

impl TwinRun {
    /// `f64` or `f32`.
    pub fn precision(&self) -> &'static str {
        if self.resolution == f64::EPSILON {
            "f64"
        } else {
            "f32"
        }
    }
}
