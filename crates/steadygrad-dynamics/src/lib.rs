//! How signals, and with them gradients, grow through depth and time.
//!
//! The tools for anybody who has a map and its derivative; no network is needed:
//! [`LyapunovSpectrum`] (growth rates of a map or a flow, with standard errors),
//! [`JacobianProduct`] (the singular values of a product that no float could hold),
//! [`MeanField`] (what theory expects of a random network), [`extreme_eigenvalues`] (Lanczos) and
//! [`Butterfly`] (how fast two trainings part).

mod activation;
mod block;
mod butterfly;
mod critical;
mod criticality;
mod error;
mod fixed_point;
pub mod float;
mod flow;
mod forecast;
mod growth;
mod jacobian_product;
mod lanczos;
mod lyapunov;
mod mean_field;
mod orthonormalize;
mod quadrature;
mod range;
mod spectral_norm;
mod spectrum;
mod tangent;

pub use activation::{Activation, LEAKY_RELU_SLOPE};
pub use block::Block;
pub use butterfly::{
    Butterfly, ButterflyError, ButterflySettings, Horizon, Parting, Separation, SeparationRate,
    SeparationStep, Series,
};
pub use critical::{CriticalPoint, critical_sigma_w};
pub use criticality::{Criticality, PhaseDiagram};
pub use error::DynamicsError;
pub use fixed_point::FixedPoint;
pub use flow::{Flow, VectorField};
pub use forecast::{Forecast, LayerForecast};
pub use growth::{Axis, GradientSize, GrowthPoint, GrowthProfile};
pub use jacobian_product::{JacobianProduct, LayerJacobian, jacobians};
pub use lanczos::{Extremes, LanczosConfig, LanczosError, Ritz, extreme_eigenvalues};
pub use lyapunov::{Exponent, LyapunovSettings, LyapunovSpectrum, Window};
pub use mean_field::{DepthScales, MeanField, MeanFieldError};
pub use orthonormalize::orthonormalize;
pub use range::{NumberFormat, RangeForecast};
pub use spectral_norm::SpectralNorm;
pub use spectrum::{GrowthSpectrum, LayerGrowth};
pub use tangent::TangentSystem;
