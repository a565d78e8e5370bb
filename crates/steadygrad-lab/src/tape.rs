use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};
use steadygrad::dynamics::{Axis, GrowthProfile};

type GradientNorm = Box<dyn Fn(&Gradients) -> Option<f64>>;

enum Measured {
    Pending(GradientNorm),
    Known(f64),
}

struct Entry {
    name: String,
    activation_rms: f64,
    gradient_norm: Measured,
}

/// Records activations, and the gradients that reach them, of one forward and backward pass.
///
/// Switched off (as in training) it does nothing at all.
pub struct Tape {
    entries: Option<Vec<Entry>>,
}

impl Tape {
    /// A tape that records nothing.
    pub fn off() -> Self {
        Self { entries: None }
    }

    /// A tape that records.
    pub fn on() -> Self {
        Self {
            entries: Some(Vec::new()),
        }
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
        let Some(entries) = &mut self.entries else {
            return activation;
        };
        // Burn keeps gradients of leaves only. Adding a zero leaf leaves the value as it is, and
        // the leaf's gradient is the activation's.
        let tap = Tensor::<D>::zeros(activation.dims(), &activation.device()).require_grad();
        let values: Vec<f32> = activation
            .clone()
            .inner()
            .into_data()
            .iter::<f32>()
            .collect();
        entries.push(Entry {
            name: name.into(),
            activation_rms: rms(&values),
            gradient_norm: Measured::Pending(Box::new({
                let tap = tap.clone();
                move |gradients| {
                    let gradient = tap.grad(gradients)?;
                    let values: Vec<f32> = gradient.into_data().iter::<f32>().collect();
                    Some(rms(&values) * (values.len() as f64).sqrt())
                }
            })),
        });
        activation + tap
    }

    /// Notes a layer or time step whose gradient the subject has computed by itself.
    pub fn record(&mut self, name: impl Into<String>, activation_rms: f64, gradient_norm: f64) {
        if let Some(entries) = &mut self.entries {
            entries.push(Entry {
                name: name.into(),
                activation_rms,
                gradient_norm: Measured::Known(gradient_norm),
            });
        }
    }

    /// Fetches the watched activations' gradients.
    pub fn read_gradients(&mut self, gradients: &Gradients) {
        for entry in self.entries.iter_mut().flatten() {
            if let Measured::Pending(read) = &entry.gradient_norm {
                // An activation that the loss does not depend on has no gradient: 0.
                entry.gradient_norm = Measured::Known(read(gradients).unwrap_or(0.0));
            }
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
            let gradient_norm = match entry.gradient_norm {
                Measured::Known(norm) => norm,
                Measured::Pending(_) => f64::NAN,
            };
            (entry.name, entry.activation_rms, gradient_norm)
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
