//! The report as one HTML page that needs no network: it contains styles, script and data.

mod cure;
mod diagnosis;
mod findings;
mod numbers;
mod page;
mod plots;
mod prescription;
mod probe;
mod tables;

pub use cure::cure;
pub use diagnosis::diagnosis;
pub use probe::probe;
