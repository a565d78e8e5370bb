//! Clipping policies, one a file.

mod global_norm;
mod scale;

pub use global_norm::GlobalNormClip;
pub(crate) use scale::scale;
