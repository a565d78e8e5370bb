//! The lab's models.

mod mlp;
mod rnn;

pub use mlp::{Mlp, MlpConfig};
pub use rnn::{Rnn, RnnConfig, ScanGradients};
