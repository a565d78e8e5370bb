//! How signals grow through depth and time.

mod activation;
mod growth;

pub use activation::Activation;
pub use growth::{Axis, GrowthPoint, GrowthProfile};
