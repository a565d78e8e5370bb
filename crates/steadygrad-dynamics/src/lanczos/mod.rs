//! Lanczos' method: both ends of the spectrum of a symmetric operator, from products alone.

mod error;
mod iteration;
mod settings;

pub use error::LanczosError;
pub use iteration::{ExtremeEigenvalues, RitzValue, extreme_eigenvalues};
pub use settings::LanczosSettings;
