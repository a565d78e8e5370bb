//! The measurements of a model before any training step. Findings and the parameters of remedies
//! follow from them.
//!
//! [`Measurements`] holds everything about the model: [`WeightMatrix`] one matrix, [`Sharpness`]
//! the curvature, [`GradientGrowth`] the rate at which gradients grow. [`TrainingSetup`] has the
//! settings of the run. [`GrowthForecast`] is the depth at which a number format gives out.

mod growth;
mod growth_forecast;
mod initial;
mod setup;
mod sharpness;
mod weights;

pub use growth::{GradientGrowth, GrowthSource};
pub use growth_forecast::GrowthForecast;
pub use initial::Measurements;
pub use setup::{TrainingSetup, UpdateRule};
pub use sharpness::Sharpness;
pub use weights::{MatrixRole, WeightMatrix};
