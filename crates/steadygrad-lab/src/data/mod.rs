//! Data sets: embedded ones, the user's own tables, and generated tasks.

mod csv;
mod digits;
mod table;
mod temporal_order;

pub use self::csv::{CsvError, CsvTask, read_csv};
pub use digits::digits;
pub use table::{Table, Target};
pub use temporal_order::TemporalOrder;
