use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};
use steadygrad::dynamics::{Axis, GradientSize, GrowthProfile};

use super::operations::{Operation, PendingOperation, watch};
use super::tap::tap;

type ReadGradient = Box<dyn Fn(&Gradients) -> Option<Vec<f32>>>;

/// The gradient of an activation: read after the backward pass, or known.
enum Gradient {
    Pending(ReadGradient),
    Known(GradientSize),
}

struct Entry {
    name: String,
    activation_rms: f64,
    gradient: Gradient,
}

/// Records the activations of a forward pass and the gradients that reach them.
///
/// A tape that is off, as in training, costs nothing.
pub struct Tape {
    entries: Option<Vec<Entry>>,
    signals: Signals,
    keeps_subnormals: bool,
    operations: Option<Vec<PendingOperation>>,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |entry: &Entry| entry.name.clone();
        let entries: Option<Vec<String>> = self
            .entries
            .as_ref()
            .map(|entries| entries.iter().map(names).collect());
        f.debug_struct("Tape")
            .field("entries", &entries)
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}

/// Counts of the gradient values that reached layers or time steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    pub(crate) values: u64,
    /// Values below the smallest normal f32.
    pub(crate) subnormal: u64,
    /// Values that have shrunk to zero.
    pub(crate) lost: u64,
}

impl Tape {
    /// A tape that records nothing.
    pub fn off() -> Self {
        Self {
            entries: None,
            signals: Signals::default(),
            keeps_subnormals: false,
            operations: None,
        }
    }

    /// A tape that records.
    pub fn on() -> Self {
        Self {
            entries: Some(Vec::new()),
            ..Self::off()
        }
    }

    /// A tape that records a backward pass which keeps subnormal signals.
    pub(crate) fn keeping_subnormals() -> Self {
        Self {
            keeps_subnormals: true,
            ..Self::on()
        }
    }

    /// A tape that records every operation, for a replay.
    pub(crate) fn of_operations() -> Self {
        Self {
            operations: Some(Vec::new()),
            ..Self::off()
        }
    }

    pub(crate) fn keeps_subnormals(&self) -> bool {
        self.keeps_subnormals
    }

    /// Adds signals that the subject has counted.
    pub(crate) fn count(&mut self, more: Signals) {
        self.signals.values += more.values;
        self.signals.subnormal += more.subnormal;
        self.signals.lost += more.lost;
    }

    /// The counts of all signals.
    pub(crate) fn signals(&self) -> Signals {
        self.signals
    }

    /// Whether it records.
    pub fn is_on(&self) -> bool {
        self.entries.is_some()
    }

    /// Records an activation and returns it with the same value.
    pub fn watch<const D: usize>(
        &mut self,
        name: impl Into<String>,
        activation: Tensor<D>,
    ) -> Tensor<D> {
        if self.operations.is_some() {
            return self.operation(name, "activation", activation);
        }
        let Some(entries) = &mut self.entries else {
            return activation;
        };
        let tap = tap(&activation);
        let values: Vec<f32> = activation
            .clone()
            .inner()
            .into_data()
            .iter::<f32>()
            .collect();
        entries.push(Entry {
            name: name.into(),
            activation_rms: rms(&values),
            gradient: Gradient::Pending(Box::new({
                let tap = tap.clone();
                move |gradients| {
                    let gradient = tap.grad(gradients)?;
                    Some(gradient.into_data().iter::<f32>().collect())
                }
            })),
        });
        activation + tap
    }

    /// Records an operation's output and returns it with the same value.
    ///
    /// A replay can then name the operation with the first non-finite value; other tapes ignore it.
    /// The first dimension of `output` must be the batch.
    pub fn operation<const D: usize>(
        &mut self,
        layer: impl Into<String>,
        name: &'static str,
        output: Tensor<D>,
    ) -> Tensor<D> {
        let Some(operations) = &mut self.operations else {
            return output;
        };
        let (watched, output) = watch(layer.into(), name, output);
        operations.push(watched);
        output
    }

    /// All recorded operations, in the order of the forward pass.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        let watched = self.operations.into_iter().flatten();
        watched.map(|watched| watched.operation).collect()
    }

    /// Records a layer or time step whose gradient the subject has computed.
    pub fn record(&mut self, name: impl Into<String>, activation_rms: f64, gradient: GradientSize) {
        if let Some(entries) = &mut self.entries {
            entries.push(Entry {
                name: name.into(),
                activation_rms,
                gradient: Gradient::Known(gradient),
            });
        }
    }

    /// Reads the gradients of the recorded activations.
    pub fn read_gradients(&mut self, gradients: &Gradients) {
        for watched in self.operations.iter_mut().flatten() {
            watched.read(gradients);
        }
        let mut found = Vec::new();
        for entry in self.entries.iter_mut().flatten() {
            if let Gradient::Pending(read) = &entry.gradient {
                // An activation that the loss does not depend on has no gradient; it counts as 0.
                let values = read(gradients).unwrap_or_default();
                entry.gradient = Gradient::Known(GradientSize::of(&values));
                let zero = values.iter().all(|value| *value == 0.0);
                found.push(Signals {
                    values: values.len() as u64,
                    subnormal: values.iter().filter(|value| value.is_subnormal()).count() as u64,
                    lost: if zero { values.len() as u64 } else { 0 },
                });
            }
        }
        // In the order of the backward pass. A layer with dead units is zero by right. After
        // subnormal values it is zero because the signal has shrunk.
        for mut signals in found.into_iter().rev() {
            if self.signals.subnormal == 0 {
                signals.lost = 0;
            }
            self.count(signals);
        }
    }

    /// The loss as a number, and its gradients by Burn's autodiff. The gradients of the recorded
    /// activations are read.
    pub fn backward<M: Module>(&mut self, loss: Tensor<1>, model: &M) -> (f64, GradientsParams) {
        let value = loss.clone().into_scalar::<f64>();
        let gradients = loss.backward();
        self.read_gradients(&gradients);
        (value, GradientsParams::from_grads(gradients, model))
    }

    /// The recorded profile; empty if the tape was off.
    pub fn into_profile(self, axis: Axis) -> GrowthProfile {
        let measured = self.entries.into_iter().flatten().map(|entry| {
            let gradient = match entry.gradient {
                Gradient::Known(size) => size,
                Gradient::Pending(_) => f64::NAN.into(),
            };
            (entry.name, entry.activation_rms, gradient)
        });
        GrowthProfile::new(axis, measured)
    }
}

/// Root mean square in f64; 0 without values.
pub(crate) fn rms(values: &[f32]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let sum: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    (sum / values.len() as f64).sqrt()
}
