//! The embedded subjects.

mod digits_cnn;
pub mod healthy;
mod table_mlp;
mod table_task;
mod temporal_order_rnn;

pub use digits_cnn::DigitsCnn;
pub use table_mlp::TableMlp;
pub use temporal_order_rnn::TemporalOrderRnn;
