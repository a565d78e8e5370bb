use burn::module::Module;
use burn::optim::GradientsParams;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use steadygrad_burn::for_each_parameter;

use super::injection::Injection;
use super::{Distortion, Fault, FaultError, gradients};
use crate::random::{Purpose, generator};

/// The faults of one run. Without any, every method returns its input unchanged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    faults: Vec<Fault>,
    seed: u64,
}

impl Faults {
    /// Checks these faults. Faults in the same attempt act in this order; the seed decides which
    /// weight, value or label is hit.
    ///
    /// # Errors
    /// [`FaultError::Setting`] names the setting that is out of range.
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

    /// Whether any fault acts in this attempt.
    pub fn active(&self, attempt: u64) -> bool {
        self.at(attempt).next().is_some()
    }

    /// Checks that a run of this many attempts reaches every fault. A later fault would silently do
    /// nothing: call this once before training.
    ///
    /// # Errors
    /// [`FaultError::NeverReached`] names the first fault beyond the end.
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

    /// Checks that the model has every parameter that a fault names. A fault of an unknown
    /// parameter would silently do nothing: call this once before training.
    ///
    /// # Errors
    /// [`FaultError::UnknownParameter`] names the most similar parameter.
    pub fn fits<M: Module>(&self, model: &M) -> Result<(), FaultError> {
        let mut names = Vec::new();
        for_each_parameter(model, |parameter, _| names.push(parameter.name));
        let wanted = self
            .faults
            .iter()
            .filter_map(|fault| fault.injection().parameter());
        for name in wanted {
            if !names.iter().any(|known| known == name) {
                return Err(FaultError::UnknownParameter {
                    name: name.to_owned(),
                    nearest: crate::nearest::nearest(name, names.iter().map(String::as_str)),
                });
            }
        }
        Ok(())
    }

    /// Before the forward pass: the distortion of this attempt's batch.
    pub fn batch(&self, attempt: u64) -> Distortion {
        let mut distortion = Distortion::default();
        for (injection, since, mut rng) in self.at(attempt) {
            injection.batch(since, rng.next_u64(), &mut distortion);
        }
        distortion
    }

    /// Before the forward pass: the model with this attempt's faults in its weights. A model that
    /// no fault changes keeps its tensors.
    pub fn model<M: Module>(&self, attempt: u64, mut model: M) -> M {
        for (injection, _, mut rng) in self.at(attempt) {
            if let Some(change) = injection.weights(rng.next_u64()) {
                model = change.apply(model);
            }
        }
        model
    }

    /// After the backward pass: the gradients with this attempt's faults. Gradients that no fault
    /// changes keep their tensors.
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

    /// The learning rate of this attempt, if it is `learning_rate` without faults.
    pub fn learning_rate(&self, attempt: u64, learning_rate: f64) -> f64 {
        self.at(attempt)
            .fold(learning_rate, |learning_rate, (injection, since, _)| {
                injection.learning_rate(since, learning_rate)
            })
    }

    /// The faults that act in this attempt, each with the number of attempts since its first one
    /// and its generator. The numbers of a fault and attempt do not depend on earlier draws.
    fn at(&self, attempt: u64) -> impl Iterator<Item = (&dyn Injection, u64, ChaCha8Rng)> {
        let all = self.faults.iter().zip(0u64..);
        all.filter_map(move |(fault, index)| {
            let injection = fault.injection();
            let since = injection.window().since(attempt)?;
            let mut rng = generator(self.seed, Purpose::Fault);
            // This leaves room for a billion numbers in each attempt, and for a billion faults.
            rng.set_stream(Purpose::Fault as u64 | (index + 1) << 32);
            rng.set_word_pos(u128::from(since) << 32);
            Some((injection, since, rng))
        })
    }
}
