//! Mean-field theory: what a wide random network does to signals and gradients.
//!
//! `activation` has the functions and `quadrature` their averages over a Gaussian signal. `network`
//! is the theory itself. `fixed_point` follows a signal to its end and `forecast` layer by layer.
//! `critical_point` finds the weight scale between vanishing and exploding gradients, and
//! `criticality` compares a network with it.

mod activation;
mod critical_point;
mod criticality;
mod error;
mod fixed_point;
mod forecast;
mod network;
mod quadrature;

pub use activation::{Activation, LEAKY_RELU_SLOPE};
pub use critical_point::{CriticalPoint, critical_sigma_w};
pub use criticality::{Criticality, PhaseDiagram};
pub use error::MeanFieldError;
pub use fixed_point::FixedPoint;
pub use forecast::{LayerForecast, MeanFieldForecast};
pub use network::{DepthScales, MeanField};
