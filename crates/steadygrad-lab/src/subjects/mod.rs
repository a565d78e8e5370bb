//! The embedded subjects.

mod table_mlp;
mod temporal_order_rnn;

pub use table_mlp::TableMlp;
pub use temporal_order_rnn::TemporalOrderRnn;
