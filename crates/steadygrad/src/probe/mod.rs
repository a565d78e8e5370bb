//! The forecast of `steadygrad probe`: what a network's measurements say before any training step.
//!
//! [`ProbeReport`] holds everything that a person sees and `--json` prints: the findings, the first
//! remedy, the [`Risk`] that the run diverges, the [`Subnormals`] in the backward pass and their
//! cost, and the [`TwinRun`]s, which show how fast two almost equal trainings separate.

mod report;
mod risk;
mod subnormals;
mod twins;

pub use crate::measurements::GrowthForecast;
pub use report::{FirstRemedy, ProbeReport};
pub use risk::Risk;
pub use subnormals::{Slowdown, Subnormals};
pub use twins::{Perturbed, TwinError, TwinRun};
