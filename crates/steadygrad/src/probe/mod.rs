//! What is known of a network before it is trained, and what follows from it: the verdict of
//! `steadygrad probe`.

mod forecast;
mod report;

pub use forecast::GrowthForecast;
pub use report::{FirstRemedy, ProbeReport, Subnormals};
