//! How signals, and with them gradients, grow through depth and time.
//!
//! Everything here works on a map or a flow and its derivative. No network is needed. The Lyapunov
//! spectrum of the Lorenz system, from its two functions:
//!
//! ```
//! use steadygrad_dynamics::{Flow, LyapunovSettings, LyapunovSpectrum};
//!
//! let velocity = |[x, y, z]: &[f64; 3]| [10. * (y - x), x * (28. - z) - y, x * y - 8. / 3. * z];
//! let jacobian =
//!     |[x, y, z]: &[f64; 3]| [[-10., 10., 0.], [28. - z, -1., -x], [*y, *x, -8. / 3.]];
//! let mut lorenz = Flow::from_functions([1.0, 1.0, 20.0], 0.01, velocity, jacobian)?;
//! let settings = LyapunovSettings::default().with_transient(2_000).with_steps(200_000);
//! let spectrum = LyapunovSpectrum::measure(&mut lorenz, settings)?;
//!
//! // Sprott (2003) prints 0.9056, 0 and -14.5723. 2,000 units of time give two digits.
//! for (found, printed) in spectrum.exponents.iter().zip([0.9056, 0.0, -14.5723]) {
//!     assert!((found.value - printed).abs() < 0.02, "{found:?}, in print {printed}");
//! }
//! # Ok::<(), steadygrad_dynamics::DynamicsError>(())
//! ```
//!
//! # What is here
//!
//! | to measure | use |
//! |---|---|
//! | growth rates of a map or a flow | [`LyapunovSpectrum`] on a [`Map`] or a [`Flow`] |
//! | singular values of a long product | [`JacobianProduct`], in logarithms |
//! | one layer's growth | [`jacobians`] and [`LayerJacobian`] |
//! | growth of a network, over samples | [`GrowthSpectrum`], [`GrowthProfile`] |
//! | growth of a random network, in theory | [`MeanField`], [`Criticality`], [`PhaseDiagram`] |
//! | when a signal leaves a number format | [`RangeForecast`] |
//! | the ends of a symmetric operator's spectrum | [`extreme_eigenvalues`] (Lanczos) |
//! | the largest singular value of a matrix that moves | [`SpectralNorm`] |
//! | how fast twin trainings separate | [`Butterfly`] |
//!
//! Any other system implements [`TangentSystem`]: one method that multiplies tangent vectors by the
//! next Jacobian. A backward pass is such a system, because a product and its transpose have the
//! same singular values.
//!
//! # Conventions
//!
//! Growth is a natural logarithm, per unit of time or per step. Exponents and singular values are
//! sorted, the largest first. A seed fixes every result. Each item says what it does with NaN,
//! infinite, zero and empty input; [`float`] writes non-finite numbers to JSON.

mod block;
mod butterfly;
mod error;
mod exponent;
pub mod float;
mod flow;
mod growth_profile;
mod growth_spectrum;
mod jacobian_product;
mod lanczos;
mod lyapunov;
mod map;
mod mean_field;
mod orthonormalize;
mod range_forecast;
mod spectral_norm;
mod tangent;

pub use block::Block;
pub use butterfly::{
    Butterfly, ButterflyError, ButterflySettings, Horizon, Separation, SeparationRate,
    SeparationStep, SeparationSummary, TwinQuantity,
};
pub use error::DynamicsError;
pub use exponent::Exponent;
pub use flow::{Flow, FunctionField, VectorField};
pub use growth_profile::{Axis, GradientSize, GrowthPoint, GrowthProfile};
pub use growth_spectrum::{GrowthSamples, GrowthSpectrum, LayerGrowth};
pub use jacobian_product::{
    JacobianProduct, LayerJacobian, ProductSettings, jacobians, next_jacobians,
};
pub use lanczos::{
    ExtremeEigenvalues, LanczosError, LanczosSettings, RitzValue, extreme_eigenvalues,
};
pub use lyapunov::{LyapunovSettings, LyapunovSpectrum, Window};
pub use map::Map;
pub use mean_field::{
    Activation, CriticalPoint, Criticality, DepthScales, FixedPoint, LEAKY_RELU_SLOPE,
    LayerForecast, MeanField, MeanFieldError, MeanFieldForecast, PhaseDiagram, critical_sigma_w,
};
pub use range_forecast::{NumberFormat, RangeForecast};
pub use spectral_norm::SpectralNorm;
pub use tangent::TangentSystem;
