//! How signals grow through depth and time.

mod activation;
mod growth;
mod spectral_norm;

pub use activation::Activation;
pub use growth::{Axis, GrowthPoint, GrowthProfile};
pub use spectral_norm::SpectralNorm;
