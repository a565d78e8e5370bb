//! A plain tanh recurrent network with a backward pass of its own.
//!
//! `network` has the parameters and the network by Burn's operations, `inputs` what it reads,
//! `scan` its forward pass on plain memory and `backward` backpropagation through time. Burn's own
//! recurrent layer is quadratic in the sequence length, the scan is linear; `tests` compares the
//! scan with Burn's autodiff.

mod backward;
mod inputs;
mod network;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use inputs::Inputs;
pub use network::{Rnn, RnnConfig, ScanGradients};
