//! Burn's SGD, Adam and AdamW, in one pass over CPU memory.
//!
//! Weights and states are the same as with Burn's own optimizers, bit for bit. Each reads the
//! other's records.
//!
//! Burn's optimizers make one pass, and often a new tensor, for each operation. These make a single
//! pass in place, from the second step on, if weights, gradient and state are f32 in CPU memory. A
//! tensor with gaps, or not in row-major order, is copied first. On a device, and with other number
//! types, they use the same tensor operations as Burn.
//!
//! A [`GuardedOptimizer`](crate::GuardedOptimizer) or [`LearnerGuard`](crate::LearnerGuard) around
//! one of them gets the norms of updates and weights from that pass. It needs no copy of the
//! weights from before the step.
//!
//! ```
//! use burn::optim::ModuleOptimizer;
//! use steadygrad::Guard;
//! use steadygrad_burn::GuardedOptimizer;
//! use steadygrad_burn::optim::Adam;
//!
//! let optimizer: ModuleOptimizer = Adam::default().with_betas(0.9, 0.95).into();
//! let guarded = GuardedOptimizer::<burn::nn::Linear>::new(Guard::default(), optimizer);
//! assert_eq!(guarded.next_step(), 0);
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
pub use sgd::Sgd;
