//! Faults on purpose: common failures of training runs, put into a run at a known step.
//!
//! A training loop calls [`Faults`] at four places: for the batch and the weights before the
//! forward pass, for the gradients after the backward pass, and for the learning rate. A fault is
//! plain data that can be read from TOML. Its effect depends only on its settings, the seed and the
//! attempt.
//!
//! An **attempt** is one batch that training draws, whether or not its update is applied. Faults
//! belong to attempts, as bad data belong to a place in a data set. When a guard skips a step or
//! rolls the weights back, training continues with later batches: a fault over `k` steps ends after
//! `k` attempts.
//!
//! ```
//! use steadygrad_lab::faults::{Fault, Faults, LearningRateSpike};
//!
//! let fault: Fault = toml::from_str("kind = \"learning_rate_spike\"\nat_step = 7")?;
//! assert_eq!(fault, Fault::LearningRateSpike(LearningRateSpike::at(7)));
//! let faults = Faults::new(vec![fault], 1)?;
//! assert_eq!(faults.learning_rate(6, 0.1), 0.1);
//! assert_eq!(faults.learning_rate(7, 0.1), 10.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bit_flip;
mod checks;
mod distortion;
mod error;
mod f16_overflow;
mod fault;
mod gradients;
mod injection;
mod label_noise;
mod learning_rate_growth;
mod learning_rate_spike;
mod list;
mod poisoned_batch;
mod rotated_labels;
mod scaled_batch;
mod shifted_data;
mod weight_growth;
mod weights;

pub use bit_flip::BitFlip;
pub use distortion::Distortion;
pub use error::FaultError;
pub use f16_overflow::F16Overflow;
pub use fault::Fault;
pub use label_noise::LabelNoise;
pub use learning_rate_growth::LearningRateGrowth;
pub use learning_rate_spike::LearningRateSpike;
pub use list::Faults;
pub use poisoned_batch::{Poison, PoisonedBatch};
pub use rotated_labels::RotatedLabels;
pub use scaled_batch::ScaledBatch;
pub use shifted_data::ShiftedData;
pub use weight_growth::WeightGrowth;

#[cfg(test)]
mod tests;
