//! The log of a run, prepared for the rules.
//!
//! [`History`] pairs a log's columns by step ([`Row`]), finds the rows that stand out ([`Streak`]),
//! shows each row to the guard's detectors, and says how the run ended ([`Ending`]). The other
//! files add what rules ask of it: a [`ColumnRise`], the parameters, charts, a guard's record, and
//! the words for a position.

mod charts;
mod detections;
mod ending;
mod filtered;
mod growth;
mod history;
mod interventions;
mod layer_profile;
mod parameters;
mod places;
mod quantiles;
mod rise;
mod rows;
mod signals;
mod streaks;

pub use ending::Ending;
pub use history::History;
pub use interventions::GUARDED;
pub(super) use layer_profile::LayerProfile;
pub(super) use quantiles::{deviation, median};
pub use rise::ColumnRise;
pub use rows::Row;
pub use streaks::Streak;
