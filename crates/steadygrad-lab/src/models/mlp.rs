use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{gelu, leaky_relu, relu, sigmoid, silu, tanh};
use burn::tensor::{DType, Device, Tensor};
use rand::Rng;
use steadygrad::dynamics::{Activation, LEAKY_RELU_SLOPE};
use steadygrad_burn::Stages;

use crate::random::normal;
use crate::tape::rms;
use crate::{Structure, Tape};

/// Shape and initialisation of a plain multilayer perceptron.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpConfig {
    /// Number of hidden layers.
    pub depth: usize,
    /// Units of each hidden layer.
    pub width: usize,
    /// Their activation.
    pub activation: Activation,
    /// Standard deviation of the normal distribution that all weights are drawn from. It does not
    /// depend on the width, which makes deep networks explode. Biases start at zero.
    pub init_std: f64,
}

/// A hidden layer: linear, optionally normalised, then the activation.
#[derive(Module, Debug)]
pub(super) struct Block {
    linear: Linear,
    norm: Option<RmsNorm>,
}

/// A plain multilayer perceptron: no residual connections, and no normalisation unless the
/// [`Structure`] has one.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<Block>,
    output: Linear,
    #[module(skip)]
    activation: Activation,
}

impl MlpConfig {
    /// Builds the model; every weight is drawn from `rng`.
    pub fn init(
        &self,
        inputs: usize,
        outputs: usize,
        structure: &Structure,
        rng: &mut dyn Rng,
        device: &Device,
    ) -> Mlp {
        let depth = structure.depth.unwrap_or(self.depth);
        let mut linear = |fan_in: usize, fan_out: usize| {
            let mut linear = LinearConfig::new(fan_in, fan_out).init(device);
            let weight = normal([fan_in, fan_out], self.init_std, rng, device);
            linear.weight = Param::from_tensor(weight);
            linear.bias = Some(Param::from_tensor(Tensor::zeros([fan_out], device)));
            linear
        };
        let hidden = (0..depth)
            .map(|index| Block {
                linear: linear(if index == 0 { inputs } else { self.width }, self.width),
                norm: structure
                    .normalizes(index)
                    .then(|| RmsNormConfig::new(self.width).init(device)),
            })
            .collect();
        let output = linear(if depth == 0 { inputs } else { self.width }, outputs);
        Mlp {
            hidden,
            output,
            activation: self.activation,
        }
    }
}

impl Mlp {
    /// The type of its parameters.
    pub(crate) fn dtype(&self) -> DType {
        self.output.weight.val().dtype()
    }

    /// Whether it has a normalisation, which Burn always computes in f32.
    pub(crate) fn normalizes(&self) -> bool {
        self.hidden.iter().any(|block| block.norm.is_some())
    }

    /// `[batch, inputs] -> [batch, outputs]` logits or predictions.
    pub fn forward(&self, input: Tensor<2>, tape: &mut Tape) -> Tensor<2> {
        let mut hidden = input;
        for (index, block) in self.hidden.iter().enumerate() {
            let layer = format!("hidden.{index}");
            let hidden_after = block.forward(hidden, self.activation, |name, output| {
                tape.operation(&*layer, name, output)
            });
            hidden = tape.watch(layer, hidden_after);
        }
        self.output.forward(hidden)
    }

    /// The hidden layers after the first one as stages, and the first one's output for `input`
    /// (`[1, inputs]`). `None` with fewer than two hidden layers.
    pub fn stages(&self, input: Tensor<2>) -> Option<(Stages<'_>, Tensor<2>)> {
        let (first, repeated) = self.hidden.split_first()?;
        if repeated.is_empty() {
            return None;
        }
        let mut stages = Stages::new();
        for (index, block) in repeated.iter().enumerate() {
            stages = stages.stage(format!("hidden.{}", index + 1), |hidden| {
                block.forward(hidden, self.activation, |_, output| output)
            });
        }
        let input = first.forward(input, self.activation, |_, output| output);
        Some((stages, input))
    }

    /// Root mean square of the repeated layers' biases.
    pub fn bias_std(&self) -> f64 {
        let biases: Vec<f32> = self
            .hidden
            .iter()
            .skip(1)
            .filter_map(|block| block.linear.bias.as_ref())
            .flat_map(|bias| {
                bias.val()
                    .inner()
                    .into_data()
                    .iter::<f32>()
                    .collect::<Vec<_>>()
            })
            .collect();
        rms(&biases)
    }
}

impl Block {
    /// `watch` sees the output of each operation except the activation.
    fn forward(
        &self,
        input: Tensor<2>,
        activation: Activation,
        mut watch: impl FnMut(&'static str, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let mut before = watch("linear", self.linear.forward(input));
        if let Some(norm) = &self.norm {
            before = watch("rms_norm", norm.forward(before));
        }
        activate(activation, before)
    }
}

fn activate(activation: Activation, x: Tensor<2>) -> Tensor<2> {
    match activation {
        Activation::Relu => relu(x),
        Activation::LeakyRelu => leaky_relu(x, LEAKY_RELU_SLOPE),
        Activation::Gelu => gelu(x),
        Activation::Silu => silu(x),
        Activation::Selu => selu(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => tanh(x),
        Activation::Linear => x,
    }
}

/// SELU. Burn's own also takes the exponential of positive values, which overflows f32 above 89:
/// its gradient is then `0 * infinity`. The constants are the slopes of `Activation::Selu` at zero.
fn selu(x: Tensor<2>) -> Tensor<2> {
    let (left, right) = (Activation::Selu.slope(0.0), Activation::Selu.slope(1.0));
    let negative = x
        .clone()
        .clamp_max(0.0)
        .exp()
        .sub_scalar(1.0)
        .mul_scalar(left);
    relu(x).mul_scalar(right) + negative
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    /// They reach beyond the exponential's range in f32, as exploding networks do.
    const POINTS: [f32; 10] = [-200.0, -90.0, -7.0, -1.0, -0.1, 0.1, 1.0, 7.0, 90.0, 200.0];

    fn values_and_slopes(function: impl Fn(Tensor<2>) -> Tensor<2>) -> (Vec<f32>, Vec<f32>) {
        let device = Device::flex().autodiff();
        let data = TensorData::new(POINTS.to_vec(), [1, POINTS.len()]);
        let x = Tensor::<2>::from_data(data, &device).require_grad();
        let y = function(x.clone());
        let gradients = y.clone().sum().backward();
        let slopes = x.grad(&gradients).unwrap();
        (
            y.into_data().try_to_vec().unwrap(),
            slopes.into_data().try_to_vec().unwrap(),
        )
    }

    /// The core's theory must be about the functions that the lab trains with.
    #[test]
    fn burn_and_the_core_agree_on_activations() {
        for activation in Activation::ALL {
            let (values, slopes) = values_and_slopes(|x| activate(activation, x));
            for (i, x) in POINTS.into_iter().enumerate() {
                let (value, slope) = (activation.value(x.into()), activation.slope(x.into()));
                let close = |a: f32, b: f64| (f64::from(a) - b).abs() < 1e-5 * (1.0 + b.abs());
                assert!(
                    close(values[i], value),
                    "{activation:?} at {x}: {}",
                    values[i]
                );
                assert!(
                    close(slopes[i], slope),
                    "{activation:?} slope at {x}: {}",
                    slopes[i]
                );
            }
        }
    }

    /// If this test fails, Burn's own `selu` can be used again.
    #[test]
    fn burns_own_selu_breaks_on_large_signals() {
        let (values, slopes) = values_and_slopes(burn::tensor::activation::selu);
        assert!(values.iter().all(|value| value.is_finite()));
        assert!(slopes[9].is_nan(), "{slopes:?}");
    }
}
