//! Faults on purpose: what goes wrong in training runs, put into one at a known step.
//!
//! A training loop calls [`Faults`] at the four places where things go wrong: the batch before the
//! forward pass, the weights before it, the gradients after the backward pass, and the learning
//! rate. A fault is plain data, can be read from TOML, and what it does depends on nothing but
//! itself, the seed and the attempt.
//!
//! An **attempt** is one batch that training draws, whether or not its update is applied. Faults
//! are tied to attempts as bad data are tied to their place in a data set: when a guard skips a
//! step or rolls the weights back and goes on with later batches, a fault over `k` steps is over
//! after `k` attempts.
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
mod distortion;
mod error;
mod f16_overflow;
mod fault;
mod gradients;
mod injection;
mod label_noise;
mod learning_rate_growth;
mod learning_rate_spike;
mod poisoned_batch;
mod rotated_labels;
mod scaled_batch;
mod shifted_data;
mod unguarded;
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
pub use poisoned_batch::{Poison, PoisonedBatch};
pub use rotated_labels::RotatedLabels;
pub use scaled_batch::ScaledBatch;
pub use shifted_data::ShiftedData;
pub use unguarded::{Unguarded, Watched, train_unguarded, train_watched};
pub use weight_growth::WeightGrowth;

use burn::module::Module;
use burn::optim::GradientsParams;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use steadygrad_burn::for_each_parameter;

use crate::random::{Purpose, generator};
use injection::Injection;

/// The faults of one run. Without any, every hook hands back what it was given, untouched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    faults: Vec<Fault>,
    seed: u64,
}

impl Faults {
    /// These faults; those that hit the same attempt act in this order. The seed decides which
    /// weight, value or label is hit.
    ///
    /// # Errors
    /// [`FaultError::Value`] names the setting that cannot be used.
    pub fn new(faults: Vec<Fault>, seed: u64) -> Result<Self, FaultError> {
        for fault in &faults {
            fault.injection().check()?;
        }
        Ok(Self { faults, seed })
    }

    /// The faults.
    pub fn list(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether any fault is at work in this attempt.
    pub fn active(&self, attempt: u64) -> bool {
        self.at(attempt).next().is_some()
    }

    /// That a run of so many attempts comes to every fault. Without it a later one does nothing:
    /// call this once, before training.
    ///
    /// # Errors
    /// [`FaultError::NeverReached`] names the first that lies beyond the end.
    pub fn reached_within(&self, attempts: u64) -> Result<(), FaultError> {
        for fault in &self.faults {
            let at_step = fault.injection().window().at_step;
            if at_step >= attempts {
                return Err(FaultError::NeverReached {
                    fault: fault.name(),
                    at_step,
                    attempts,
                });
            }
        }
        Ok(())
    }

    /// That the model has every parameter that a fault names. Without it such a fault does
    /// nothing: call this once, before training.
    ///
    /// # Errors
    /// [`FaultError::UnknownParameter`] names the nearest parameter there is.
    pub fn fits<M: Module>(&self, model: &M) -> Result<(), FaultError> {
        let mut names = Vec::new();
        for_each_parameter(model, |parameter, _| names.push(parameter.name));
        let wanted = self.faults.iter().filter_map(|fault| match fault {
            Fault::BitFlip(flip) => flip.parameter.as_ref(),
            _ => None,
        });
        for name in wanted {
            if !names.contains(name) {
                return Err(FaultError::UnknownParameter {
                    name: name.clone(),
                    nearest: crate::study::nearest(name, names.iter().map(String::as_str)),
                });
            }
        }
        Ok(())
    }

    /// Before the forward pass: what is wrong with this attempt's batch.
    pub fn batch(&self, attempt: u64) -> Distortion {
        let mut distortion = Distortion::default();
        for (injection, since, mut rng) in self.at(attempt) {
            injection.batch(since, rng.next_u64(), &mut distortion);
        }
        distortion
    }

    /// Before the forward pass: the model with this attempt's corruption of its weights. A model
    /// that no fault touches keeps its very tensors.
    pub fn model<M: Module>(&self, attempt: u64, mut model: M) -> M {
        for (injection, _, mut rng) in self.at(attempt) {
            if let Some(change) = injection.weights(rng.next_u64()) {
                model = change.apply(model);
            }
        }
        model
    }

    /// After the backward pass: the gradients with this attempt's corruption. Those that no fault
    /// touches stay the very tensors.
    pub fn gradients<M: Module>(
        &self,
        attempt: u64,
        model: &M,
        mut gradients: GradientsParams,
    ) -> GradientsParams {
        for (injection, ..) in self.at(attempt) {
            if let Some(loss_scale) = injection.f16_loss_scale() {
                gradients = gradients::through_f16(model, gradients, loss_scale);
            }
        }
        gradients
    }

    /// The learning rate of this attempt, where the loop would have used `learning_rate`.
    pub fn learning_rate(&self, attempt: u64, learning_rate: f64) -> f64 {
        self.at(attempt)
            .fold(learning_rate, |learning_rate, (injection, since, _)| {
                injection.learning_rate(since, learning_rate)
            })
    }

    /// What is at work in this attempt, the attempts since its first, and its random numbers:
    /// those of one fault and attempt are always the same, whatever was drawn before.
    fn at(&self, attempt: u64) -> impl Iterator<Item = (&dyn Injection, u64, ChaCha8Rng)> {
        let all = self.faults.iter().zip(0u64..);
        all.filter_map(move |(fault, index)| {
            let injection = fault.injection();
            let since = injection.window().since(attempt)?;
            let mut rng = generator(self.seed, Purpose::Fault);
            // Far enough apart for a billion numbers in each attempt and a billion faults.
            rng.set_stream(Purpose::Fault as u64 | (index + 1) << 32);
            rng.set_word_pos(u128::from(since) << 32);
            Some((injection, since, rng))
        })
    }
}

#[cfg(test)]
mod tests;
