//! A guarded run that needs no supervision: it can be killed at any moment and resumed to the bit.
//!
//! `run` has the loop and the run directory, `attempts` makes the steps (a replay makes the same
//! ones again), `pace` says when a snapshot is due and `outcome` what the run returns.

mod attempts;
mod error;
mod outcome;
mod pace;
mod run;

pub(crate) use attempts::{Attempt, AttemptInput, Attempts};
pub use error::TrainError;
pub use outcome::{Rollback, TrainEnd, TrainOutcome, Unusable};
pub use run::{TrainOptions, train};
