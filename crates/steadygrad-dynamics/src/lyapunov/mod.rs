//! Lyapunov spectra: the growth rates of a system along each of its directions.
//!
//! `carrier` advances an orthonormal block of tangent vectors, `drift` decides when it must be
//! factorised again, `batch` computes standard errors, and `spectrum` puts the result together.

mod batch;
mod carrier;
mod drift;
mod settings;
mod spectrum;

pub use settings::LyapunovSettings;
pub use spectrum::{LyapunovSpectrum, Window};
