//! The report as text for a terminal, like a compiler's diagnostics.

mod cure;
mod diagnosis;
mod findings;
mod growth;
mod prescription;
mod probe;
mod rule;
mod sparkline;
mod tables;
mod text;

pub use cure::cure;
pub use diagnosis::{brief, diagnosis};
pub use probe::probe;
pub use rule::rule;
pub(crate) use sparkline::plain as plain_chart;
