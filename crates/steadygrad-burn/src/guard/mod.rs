//! A guard around optimizer steps.
//!
//! Every step goes the same way: measure gradients and weights, ask the guard, act on its decision.
//! [`StepWithoutRollback`] does just this, for callers who own the guard and keep no snapshots.
//! `rollback_guard` adds snapshots in memory, rollback, and the norms of updates. It serves
//! [`GuardedOptimizer`], for loops of one's own, and [`LearnerGuard`], for `burn-train`'s learner.
//! `self_measured` saves the guard a second look at weights that the optimizer has measured.
//! [`TrainingState`] is a snapshot: weights and optimizer, in memory or on disk.
//! `apply`, outside this folder, changes the gradients as decided.

mod guarded_optimizer;
mod learner_guard;
mod loop_measurements;
mod restore_error;
mod rollback_guard;
mod self_measured;
mod step_without_rollback;
mod training_state;

pub use guarded_optimizer::GuardedOptimizer;
pub use learner_guard::LearnerGuard;
pub use loop_measurements::LoopMeasurements;
pub use restore_error::RestoreError;
pub use step_without_rollback::StepWithoutRollback;
pub use training_state::TrainingState;
