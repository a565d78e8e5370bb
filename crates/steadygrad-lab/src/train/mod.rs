//! A guarded run that needs no supervision: it can be killed at any moment and resumed to the bit.
//!
//! `run` has the loop and the run directory, `attempts` makes the steps (a replay makes the same
//! ones again), `pace` says when a snapshot is due and `trained` what the run returns.

mod attempts;
mod error;
mod pace;
mod run;
mod trained;

pub(crate) use attempts::{Attempt, Attempts, Drawn};
pub use error::TrainError;
pub use run::{TrainOptions, train};
pub use trained::{Rollback, TrainEnd, Trained};
