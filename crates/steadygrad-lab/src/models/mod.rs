//! The lab's models.

mod cnn;
mod mlp;
mod rnn;

pub use cnn::{Cnn, CnnConfig};
pub use mlp::{Mlp, MlpConfig};
pub(crate) use rnn::Inputs;
pub use rnn::{Rnn, RnnConfig, ScanGradients};
