use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::Rng;

use crate::Tape;
use crate::random::{normal, normal_values};

/// Pixels along each side of a kernel.
const KERNEL: usize = 3;

/// Shape and initialisation of a plain convolutional network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CnnConfig {
    /// Number of 3x3 convolutions. The second one halves the image.
    pub depth: usize,
    /// Channels of each convolution.
    pub channels: usize,
    /// Kernels are drawn from N(0, gain^2 / fan_in). A gain of the square root of 2 keeps the size
    /// of a ReLU network's signal (He et al., 2015). The output layer has gain 1, biases start at
    /// zero.
    pub gain: f64,
}

/// Convolutions with ReLU, and a linear layer on all pixels of the last one. It has no pooling, no
/// residual connections and no normalisation.
#[derive(Module, Debug)]
pub struct Cnn {
    convolutions: Vec<Conv2d>,
    output: Linear,
}

impl CnnConfig {
    /// Builds the model for square images of one channel; every weight is drawn from `rng`.
    pub fn init(&self, side: usize, outputs: usize, rng: &mut dyn Rng, device: &Device) -> Cnn {
        let (mut channels, mut side) = (1, side);
        let convolutions = (0..self.depth)
            .map(|index| {
                let stride = stride(index);
                let mut convolution = Conv2dConfig::new([channels, self.channels], [KERNEL; 2])
                    .with_stride([stride; 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init(device);
                let fan_in = channels * KERNEL * KERNEL;
                let std = self.gain / (fan_in as f64).sqrt();
                let values: Vec<f32> = normal_values(self.channels * fan_in, std, rng);
                let shape = [self.channels, channels, KERNEL, KERNEL];
                let kernels = Tensor::from_data(TensorData::new(values, shape), device);
                convolution.weight = Param::from_tensor(kernels);
                convolution.bias = Some(Param::from_tensor(Tensor::zeros([self.channels], device)));
                channels = self.channels;
                side = side.div_ceil(stride);
                convolution
            })
            .collect();
        let inputs = channels * side * side;
        let mut output = LinearConfig::new(inputs, outputs).init(device);
        let std = (inputs as f64).sqrt().recip();
        output.weight = Param::from_tensor(normal([inputs, outputs], std, rng, device));
        output.bias = Some(Param::from_tensor(Tensor::zeros([outputs], device)));
        Cnn {
            convolutions,
            output,
        }
    }
}

fn stride(index: usize) -> usize {
    if index == 1 { 2 } else { 1 }
}

impl Cnn {
    /// The type of its parameters.
    pub(crate) fn dtype(&self) -> DType {
        self.output.weight.val().dtype()
    }

    /// `[batch, 1, side, side] -> [batch, outputs]` logits.
    pub fn forward(&self, images: Tensor<4>, tape: &mut Tape) -> Tensor<2> {
        let mut hidden = images;
        for (index, convolution) in self.convolutions.iter().enumerate() {
            let name = format!("convolutions.{index}");
            let before = tape.operation(&*name, "convolution", convolution.forward(hidden));
            hidden = tape.watch(name, relu(before));
        }
        self.output.forward(hidden.flatten(1, 3))
    }

    /// Multiplications of one forward pass on one image with this many pixels a side.
    pub fn work(&self, side: usize) -> f64 {
        let mut side = side;
        let mut work = self.output.weight.shape().num_elements() as f64;
        for (index, convolution) in self.convolutions.iter().enumerate() {
            side = side.div_ceil(stride(index));
            work += convolution.weight.shape().num_elements() as f64 * (side * side) as f64;
        }
        work
    }
}
