use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{relu, tanh};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use steadygrad::dynamics::Activation;

use crate::random::normal;
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
    /// All weights are drawn from a normal distribution with this standard deviation, whatever
    /// the width: the mistake that makes deep ones explode. Biases start at zero.
    pub init_std: f64,
}

/// A hidden layer: linear, optionally normalised, then the activation.
#[derive(Module, Debug)]
pub(super) struct Block {
    linear: Linear,
    norm: Option<RmsNorm>,
}

/// A plain multilayer perceptron: no residuals, and no normalisation unless the structure asks.
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
        rng: &mut ChaCha8Rng,
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
    /// `[batch, inputs] -> [batch, outputs]` logits or predictions.
    pub fn forward(&self, input: Tensor<2>, tape: &mut Tape) -> Tensor<2> {
        let mut hidden = input;
        for (index, block) in self.hidden.iter().enumerate() {
            let mut before = block.linear.forward(hidden);
            if let Some(norm) = &block.norm {
                before = norm.forward(before);
            }
            let after = match self.activation {
                Activation::Relu => relu(before),
                Activation::Tanh => tanh(before),
                Activation::Linear => before,
            };
            hidden = tape.watch(format!("hidden.{index}"), after);
        }
        self.output.forward(hidden)
    }
}
