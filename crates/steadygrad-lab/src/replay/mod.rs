//! A replay of an incident: which operation failed first, and would the run have survived?
//!
//! `run` repeats the steps before the incident to the bit, from the last snapshot (`record`
//! compares them). `locate` finds the first place with a bad value in the incident's own step. The
//! `report` also has the step in f64, and `counterfactual` continues with and without the guard.

mod counterfactual;
mod error;
mod locate;
mod record;
mod report;
mod run;
mod values;

pub use counterfactual::{Continuation, Counterfactual};
pub use error::ReplayError;
pub use locate::{Culprit, Stage};
pub use report::{Difference, InF64, Origin, ReplayReport};
pub use run::{ReplayOptions, replay};
