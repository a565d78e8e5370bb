//! Products of Jacobians, in logarithms.
//!
//! `product` carries directions through a sequence or through explicit factors, `factor` keeps them
//! orthonormal, and `sweep` reads singular values from the triangular factors. `layer` looks at one
//! Jacobian by itself.

mod factor;
mod layer;
mod product;
mod settings;
mod sweep;

pub use layer::{LayerJacobian, jacobians, next_jacobians};
pub use product::JacobianProduct;
pub use settings::ProductSettings;
