//! Threads that measure and scale many tensors, without changing a bit of the result.
//!
//! [`Workers`] splits tensors into portions that threads take from a queue. `scale` multiplies the
//! values of one portion. Clipping and the guard use both through [`Workers`].

mod pool;
mod scale;

pub use pool::{Workers, WorkersError};
pub(crate) use scale::{scale, through_f32};
