use std::collections::HashMap;

use burn::module::Module;
use steadygrad::TensorStats;
use steadygrad::dynamics::SpectralNorm;

use crate::parameters::{for_each_parameter, map_parameters};

/// Measures the L2 norm of every trainable parameter, in module order. The norm of a parameter with
/// a NaN is NaN, with an infinite value infinite.
pub fn weight_norms<M: Module>(module: &M) -> Vec<f64> {
    let mut norms = Vec::new();
    for_each_parameter(module, |_, values| {
        norms.push(TensorStats::of(values).tensor_norm)
    });
    norms
}

/// Multiplies each named parameter, by dotted path, by its factor. The others stay as they are.
pub fn scale_weights<M: Module>(module: M, factors: &HashMap<String, f64>) -> M {
    map_parameters(module, |name, _, values| {
        let Some(factor) = factors.get(name) else {
            return false;
        };
        scale(values, *factor);
        true
    })
}

/// Adds `scale * direction` to all trainable parameters. `direction` has one list a parameter, in
/// module order.
#[cfg(all(test, feature = "flex"))]
pub(crate) fn perturb<M: Module>(module: M, direction: &[Vec<f32>], scale: f64) -> M {
    let mut directions = direction.iter();
    map_parameters(module, |_, _, values| {
        let Some(direction) = directions.next() else {
            return false;
        };
        for (value, step) in values.iter_mut().zip(direction) {
            *value = (f64::from(*value) + scale * f64::from(*step)) as f32;
        }
        true
    })
}

/// Keeps named weight matrices at or below a spectral norm: `W <- W min(1, cap / |W|_2)`.
///
/// Call [`apply`](Self::apply) before the first step and after each. Power iteration estimates the
/// norm. It goes on from the last step's singular vector, so one iteration a step is enough.
///
/// ```
/// use burn::module::Param;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use steadygrad_burn::{SpectralCap, for_each_parameter};
///
/// let device = Device::flex().autodiff();
/// let mut model: Linear = LinearConfig::new(2, 2).with_bias(false).init(&device);
/// model.weight = Param::from_data([[4.0, 0.0], [0.0, 1.0]], &device);
/// let mut cap = SpectralCap::new(2.0, ["weight".to_owned()]);
/// let model = cap.apply(model);
/// for_each_parameter(&model, |_, values| assert!((values[0] - 2.0).abs() < 1e-5));
/// ```
#[derive(Debug, Clone)]
pub struct SpectralCap {
    max_spectral_norm: f64,
    /// By parameter name; `None` before the first estimate.
    estimates: HashMap<String, Option<SpectralNorm>>,
}

impl SpectralCap {
    /// Iterations for the first estimate of a matrix. It starts from an arbitrary vector.
    const FIRST_ITERATIONS: usize = 30;

    /// Creates a cap on these parameters, by dotted path. A name that is no matrix is ignored.
    pub fn new(max_spectral_norm: f64, names: impl IntoIterator<Item = String>) -> Self {
        Self {
            max_spectral_norm,
            estimates: names.into_iter().map(|name| (name, None)).collect(),
        }
    }

    /// Caps every named matrix of a module. A matrix that is below the cap, or that holds a
    /// non-finite value, stays as it is.
    pub fn apply<M: Module>(&mut self, module: M) -> M {
        map_parameters(module, |name, shape, values| self.cap(name, shape, values))
    }

    /// Caps one parameter, and returns whether its values changed. Its arguments are those that
    /// [`map_parameters`] gives.
    pub fn cap(&mut self, name: &str, shape: &[usize], values: &mut [f32]) -> bool {
        let (Some(estimate), &[_, cols]) = (self.estimates.get_mut(name), shape) else {
            return false;
        };
        let norm = match estimate {
            Some(spectral) => spectral.estimate(values, 1),
            None => estimate
                .insert(SpectralNorm::new(cols))
                .estimate(values, Self::FIRST_ITERATIONS),
        };
        let over = norm > self.max_spectral_norm;
        if over {
            scale(values, self.max_spectral_norm / norm);
        }
        over
    }
}

/// Multiplies in f64, and rounds once.
fn scale(values: &mut [f32], factor: f64) {
    for value in values {
        *value = (f64::from(*value) * factor) as f32;
    }
}
