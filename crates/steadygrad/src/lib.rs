//! **steadygrad predicts, detects, explains and cures exploding gradients.**
//!
//! This crate is the core. It decides, and holds no tensor of any framework. An adapter, such as
//! `steadygrad-burn`, measures gradients, passes the numbers on as plain data, and acts on the
//! answer. Here the third step has a NaN in its gradient, and the guard skips it:
//!
//! ```
//! use steadygrad::guard::Preset;
//! use steadygrad::stats::NamedStats;
//! use steadygrad::{Decision, GradientStats, Guard, StepReading, TensorStats};
//!
//! let mut guard = Guard::from(Preset::Default);
//! for (step, gradient) in [[0.3f32, -0.4], [0.2, -0.5], [f32::NAN, 0.1]].iter().enumerate() {
//!     let stats = NamedStats { name: "layer.weight".into(), stats: TensorStats::of(gradient) };
//!     let gradients = GradientStats { tensors: vec![stats] };
//!     let judgement = guard.step(&StepReading::new(step as u64, 1.0, 0.1, gradients));
//!     match judgement.decision {
//!         Decision::Keep => assert!(step < 2),
//!         Decision::Skip { reason } => assert_eq!((step, reason.is_empty()), (2, false)),
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert_eq!((guard.summary().kept, guard.summary().skipped), (2, 1));
//! ```
//!
//! # How data flows
//!
//! Each arrow is a public type of plain data, and all point one way:
//!
//! ```text
//! gradients --stats--> GradientStats --+
//! loss, learning rate -----------------+--> StepReading --detect--> Detection
//!                                                                       |
//!                          adapter acts <-- Decision <-- guard, recover --+
//!
//! log of a run --> Trace ---------------------------+
//! model --> Measurements (dynamics: GrowthSpectrum) +--diagnose--> Finding (code, place, evidence)
//!                                                                       |
//!                          cure: Trial --> Outcome --> Ranking --> Prescription
//! ```
//!
//! # What is where
//!
//! | to | look at |
//! |---|---|
//! | clip gradients or updates | [`clip`]: policies, run by a [`Clipper`](clip::Clipper) |
//! | judge each training step | [`guard`], with [`detect`] and [`recover`] behind it |
//! | measure gradients | [`stats`] for one tensor, [`Workers`] for many |
//! | forecast before training | [`probe`], from [`measurements`] |
//! | explain a run or a model | [`diagnose`] a [`Trace`] or [`measurements`] |
//! | find the best remedy | [`cure`], with [`remedy`] for its words and numbers |
//! | measure growth without a network | [`dynamics`], the crate `steadygrad-dynamics` |
//!
//! The core reads no clock, prints nothing, touches no file, and draws no random number that its
//! caller did not seed. Every public function says what it does with NaN, infinite, zero and empty
//! input.

pub mod clip;
pub mod cure;
pub mod decision;
pub mod detect;
pub mod diagnose;
mod evidence;
pub mod guard;
pub mod measurements;
mod outcome;
pub mod probe;
pub mod reading;
pub mod recover;
pub mod remedy;
pub mod setting;
pub mod statistics;
pub mod stats;
pub mod trace;
pub mod update;
pub mod workers;

pub use steadygrad_dynamics::{self as dynamics, float};

pub use decision::Decision;
pub use evidence::Evidence;
pub use guard::{Guard, GuardConfig, Judgement};
pub use reading::{Place, StepReading};
pub use stats::{GradientStats, TensorStats};
pub use trace::Trace;
pub use workers::Workers;
