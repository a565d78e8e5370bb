//! Sensitivity to initial conditions: how fast two almost equal trainings separate.
//!
//! `separation` is what was measured at each step, `fit` draws a line through its logarithms, and
//! `summary` reads a rate and a horizon from it. [`Butterfly`] holds all three for losses, weights
//! and gradients.

mod error;
mod fit;
mod separation;
mod settings;
mod summary;
#[cfg(test)]
mod tests;
mod twins;

pub use error::ButterflyError;
pub use separation::{Separation, SeparationStep, TwinQuantity};
pub use settings::ButterflySettings;
pub use summary::{Horizon, SeparationRate, SeparationSummary};
pub use twins::Butterfly;
