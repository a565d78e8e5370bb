//! The guard: the only place where detection, clipping and recovery meet, and where a decision is
//! made.
//!
//! `state` holds the guard, `judge` makes a decision of a reading, and `snapshots` is how an
//! adapter takes and restores states.
//!
//! ```
//! use steadygrad::guard::{Guard, Preset};
//! use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
//! use steadygrad::{Decision, StepReading};
//!
//! let mut guard = Guard::from(Preset::Default);
//! for step in 0..3 {
//!     if guard.wants_snapshot(step) {
//!         // ... copy weights, optimizer, scheduler and random generators, then:
//!         guard.snapshot_taken(step);
//!     }
//!     let gradients = GradientStats {
//!         tensors: vec![NamedStats { name: "w".into(), stats: TensorStats::of(&[0.3f32, -0.4]) }],
//!     };
//!     let judgement = guard.step(&StepReading::new(step, 1.0, 0.1, gradients));
//!     match judgement.decision {
//!         // Restore it first; `Guard::wants_abandoned` says whether to keep the state left.
//!         Decision::Rollback { to_step, .. } => guard.rolled_back(to_step),
//!         Decision::Stop { reason } => panic!("{reason}"),
//!         decision if decision.applies() => {
//!             // optimizer.step(0.1 * judgement.learning_rate_scale)
//!         }
//!         _ => { /* the next batch, without a step */ }
//!     }
//! }
//! assert_eq!(guard.summary().kept, 3);
//! ```

mod config;
mod error;
#[cfg(test)]
mod golden;
mod judge;
mod judgement;
mod preset;
mod snapshots;
mod state;
mod summary;

pub use config::{GuardConfig, Response};
pub use error::GuardConfigError;
pub use judgement::{Incident, Judgement};
pub use preset::Preset;
pub use state::Guard;
pub use summary::GuardSummary;
