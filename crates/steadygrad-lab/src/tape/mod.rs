//! What a forward and a backward pass show of a model: sizes of activations and of their gradients
//! for a measurement (`recorder`), each operation's values for a replay (`operations`).

mod operations;
mod recorder;
mod tap;

pub(crate) use operations::{Operation, PerSample};
pub use recorder::Tape;
pub(crate) use recorder::{Signals, rms};
