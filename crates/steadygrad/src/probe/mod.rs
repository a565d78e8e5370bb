//! What is known of a network before it is trained, and what follows from it: the verdict of
//! `steadygrad probe`.

mod report;
mod risk;
mod subnormals;
mod twins;

pub use crate::measurements::GrowthForecast;
pub use report::{FirstRemedy, ProbeReport};
pub use risk::Risk;
pub use subnormals::{Slowdown, Subnormals};
pub use twins::{Perturbed, TwinRun};
