use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};
use steadygrad::dynamics::{Axis, GradientSize, GrowthProfile};

use super::operations::{self, Operation};
use super::tap::tap;

type ReadGradient = Box<dyn Fn(&Gradients) -> Option<Vec<f32>>>;

enum Measured {
    Pending(ReadGradient),
    Known(GradientSize),
}

struct Entry {
    name: String,
    activation_rms: f64,
    gradient: Measured,
}

/// Records activations, and the gradients that reach them, of one forward and backward pass.
///
/// Switched off (as in training) it does nothing at all.
pub struct Tape {
    entries: Option<Vec<Entry>>,
    signals: Signals,
    keeps_subnormals: bool,
    operations: Option<Vec<operations::Watched>>,
}

/// Values of the gradients that reached layers or time steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    pub(crate) values: u64,
    /// Those below the smallest normal f32.
    pub(crate) subnormal: u64,
    /// Those that have shrunk on, to zero.
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

    /// A tape that records, and asks for a backward pass that sets no signal to zero.
    pub(crate) fn keeping_subnormals() -> Self {
        Self {
            keeps_subnormals: true,
            ..Self::on()
        }
    }

    /// A tape that looks at every operation that it is told of, for a replay.
    pub(crate) fn of_operations() -> Self {
        Self {
            operations: Some(Vec::new()),
            ..Self::off()
        }
    }

    pub(crate) fn keeps_subnormals(&self) -> bool {
        self.keeps_subnormals
    }

    /// Adds signals that the subject has counted by itself.
    pub(crate) fn count(&mut self, more: Signals) {
        self.signals.values += more.values;
        self.signals.subnormal += more.subnormal;
        self.signals.lost += more.lost;
    }

    /// All signals so far.
    pub(crate) fn signals(&self) -> Signals {
        self.signals
    }

    /// Whether it records.
    pub fn is_on(&self) -> bool {
        self.entries.is_some()
    }

    /// Notes the activation and returns it, unchanged in value.
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
            gradient: Measured::Pending(Box::new({
                let tap = tap.clone();
                move |gradients| {
                    let gradient = tap.grad(gradients)?;
                    Some(gradient.into_data().iter::<f32>().collect())
                }
            })),
        });
        activation + tap
    }

    /// Notes what an operation of a layer made, and returns it, unchanged in value: a replay can
    /// then say which of them produced the first non-finite value. Otherwise it does nothing.
    /// The first dimension of `output` is the sample's.
    pub fn operation<const D: usize>(
        &mut self,
        layer: impl Into<String>,
        name: &'static str,
        output: Tensor<D>,
    ) -> Tensor<D> {
        let Some(operations) = &mut self.operations else {
            return output;
        };
        let (watched, output) = operations::watch(layer.into(), name, output);
        operations.push(watched);
        output
    }

    /// What was seen of each operation, in the order of the forward pass.
    pub(crate) fn into_operations(self) -> Vec<Operation> {
        let watched = self.operations.into_iter().flatten();
        watched.map(|watched| watched.operation).collect()
    }

    /// Notes a layer or time step whose gradient the subject has computed by itself.
    pub fn record(&mut self, name: impl Into<String>, activation_rms: f64, gradient: GradientSize) {
        if let Some(entries) = &mut self.entries {
            entries.push(Entry {
                name: name.into(),
                activation_rms,
                gradient: Measured::Known(gradient),
            });
        }
    }

    /// Fetches the watched activations' gradients.
    pub fn read_gradients(&mut self, gradients: &Gradients) {
        for watched in self.operations.iter_mut().flatten() {
            watched.read(gradients);
        }
        let mut found = Vec::new();
        for entry in self.entries.iter_mut().flatten() {
            if let Measured::Pending(read) = &entry.gradient {
                // An activation that the loss does not depend on has no gradient: 0.
                let values = read(gradients).unwrap_or_default();
                entry.gradient = Measured::Known(GradientSize::of(&values));
                let zero = values.iter().all(|value| *value == 0.0);
                found.push(Signals {
                    values: values.len() as u64,
                    subnormal: values.iter().filter(|value| value.is_subnormal()).count() as u64,
                    lost: if zero { values.len() as u64 } else { 0 },
                });
            }
        }
        // Backwards, as the signal goes. A layer may be zero by right, because its units are dead;
        // after subnormal values it has shrunk on.
        for mut signals in found.into_iter().rev() {
            if self.signals.subnormal == 0 {
                signals.lost = 0;
            }
            self.count(signals);
        }
    }

    /// The loss as a number and, by Burn's autodiff, its gradients; what was watched is read.
    pub fn backward<M: Module>(&mut self, loss: Tensor<1>, model: &M) -> (f64, GradientsParams) {
        let value = loss.clone().into_scalar::<f64>();
        let gradients = loss.backward();
        self.read_gradients(&gradients);
        (value, GradientsParams::from_grads(gradients, model))
    }

    /// The recorded profile; empty when the tape was off.
    pub fn into_profile(self, axis: Axis) -> GrowthProfile {
        let measured = self.entries.into_iter().flatten().map(|entry| {
            let gradient = match entry.gradient {
                Measured::Known(size) => size,
                Measured::Pending(_) => f64::NAN.into(),
            };
            (entry.name, entry.activation_rms, gradient)
        });
        GrowthProfile::new(axis, measured)
    }
}

/// Root mean square in f64; 0 for nothing.
pub(crate) fn rms(values: &[f32]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let sum: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    (sum / values.len() as f64).sqrt()
}
