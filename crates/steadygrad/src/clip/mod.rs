//! Clipping policies, one a file.

mod global_norm;

pub use global_norm::GlobalNormClip;
