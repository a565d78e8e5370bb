//! The embedded subjects.

mod digits_cnn;
mod digits_net;
pub mod healthy;
mod table_mlp;
mod table_task;
mod temporal_order_rnn;

pub use digits_cnn::DigitsCnn;
pub use digits_net::{DigitsNet, NetKind};
pub use table_mlp::TableMlp;
pub use temporal_order_rnn::TemporalOrderRnn;
