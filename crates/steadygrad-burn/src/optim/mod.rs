//! Burn's SGD, Adam and AdamW, in one pass over the memory.
//!
//! The weights and states they give are those of Burn's own optimizers, to the bit, and a record of
//! one is read by the other. Burn's make a pass, and often a new tensor, for each operation; these
//! make one, in place, from the second step on, where weights, gradient and state lie in this machine's
//! memory as f32; what lies there with gaps or in another order than its axes is copied together first.
//! Elsewhere they go tensor by tensor as Burn's do.
//!
//! A [`GuardedOptimizer`](crate::GuardedOptimizer) or [`LearnerGuard`](crate::LearnerGuard) around
//! them gets the norms of updates and weights from that pass, and keeps no copy of the weights before
//! a step to measure them by.
//!
//! ```
//! use burn::optim::ModuleOptimizer;
//! use steadygrad_burn::optim::Adam;
//!
//! let optimizer: ModuleOptimizer = Adam::default().into();
//! ```

mod adam;
mod adamw;
mod boxed_state;
mod in_place;
pub(crate) mod ledger;
mod moments;
mod sgd;

pub use adam::Adam;
pub use adamw::AdamW;
pub use boxed_state::BoxedState;
pub use sgd::{Sgd, SgdState};
