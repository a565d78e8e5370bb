//! Optimizer steps that measure themselves.
//!
//! One pass over a tensor turns gradient and optimizer state into new weights, and measures the
//! norms that a guard needs. Measuring afterwards would take two more passes over the memory.
//!
//! The arithmetic is that of Burn's optimizers in f32, in the same order and rounded alike after
//! each operation, with every instruction set. The weights are the same to the bit, for NaN and
//! infinite values too. `step` walks over a tensor, and `adam` and `sgd` have the rules.
//!
//! Unstable: this module serves `steadygrad-burn`, and may change in any release.

mod adam;
mod rule;
mod sgd;
mod step;
#[cfg(test)]
mod tests;

pub use adam::{AdamStep, AdamWStep};
pub use sgd::SgdStep;
pub use step::StepNorms;
