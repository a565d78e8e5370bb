//! **steadygrad predicts, detects, explains and cures exploding gradients.**
//!
//! This crate is the core: it decides, and holds no tensor of any framework. An adapter (for
//! example `steadygrad-burn`) measures gradients, hands the numbers over as plain data and acts
//! on the answer. The data flows one way:
//!
//! ```text
//! gradients --stats--> GradientStats --+
//! loss, learning rate -----------------+--> StepReading --detect--> Detection
//!                                                             |
//!               guard, recover: Judgement (a Decision) <------+----> record: StepRecord, Incident
//!                                                             |
//! growth products --dynamics--> GrowthProfile --diagnose--> Finding
//!                                                             |
//!                               cure: Trial -> Outcome -> Ranking -> Prescription
//! ```
//!
//! The core reads no clock, prints nothing, draws no random number its caller did not seed, and
//! touches no file. Every public function says what it does with NaN, infinite,
//! zero and empty input.

pub mod clip;
pub mod cure;
pub mod decision;
pub mod detect;
pub mod diagnose;
pub mod guard;
pub mod measurements;
mod outcome;
pub mod probe;
pub mod reading;
pub mod recover;
pub mod remedy;
pub mod stats;
pub mod trace;
pub mod update;
pub mod workers;

pub use steadygrad_dynamics::{self as dynamics, float};

pub use decision::Decision;
pub use guard::{Guard, GuardConfig, Judgement};
pub use reading::{Place, StepReading};
pub use stats::{GradientStats, TensorStats};
pub use trace::Trace;
pub use workers::Workers;
