//! Gradient statistics: one pass over each tensor.
//!
//! [`TensorStats`] describes one tensor and [`GradientStats`] all of them. `block` reads 8,192
//! values with SIMD instructions, `element` has the four number types, and `shard` merges blocks
//! with exact sums. `second_moment`, `headroom` and `units` measure what single clipping policies
//! need, and `distance` the length of an optimizer's step.

mod block;
mod distance;
mod element;
mod exact_sum;
mod gradient;
mod headroom;
mod prefetch;
mod second_moment;
mod shard;
mod tensor;
mod units;
mod values;

pub(crate) use block::{BlockSum, SIDES};
pub use distance::distance;
pub(crate) use element::{CHUNK, Element};
pub use gradient::{GradientStats, NamedStats, global_norm};
pub(crate) use headroom::headroom;
pub use second_moment::SecondMoment;
pub(crate) use second_moment::{beyond_second_moment, is_beyond, update_rms};
pub(crate) use shard::Shard;
pub use tensor::TensorStats;
pub use units::Units;
pub(crate) use units::unit_norms;
pub(crate) use values::with_slice;
pub use values::{Values, ValuesMut};
