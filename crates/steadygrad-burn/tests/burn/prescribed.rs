//! The prescribed Burn code compiles as pasted, and does what its remedy says.
//!
//! Every remedy has a file here that includes the exact snippet that the core prescribes. The list
//! of remedies comes from the core, so a remedy without a file does not compile.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use steadygrad::TensorStats;

macro_rules! tests {
    ($($file:ident $Name:ident,)*) => {
        $(mod $file;)*
    };
}

steadygrad::for_each_remedy!(tests);

fn device() -> Device {
    Device::flex().autodiff()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().iter::<f32>().collect()
}

fn l2<const D: usize>(tensor: Tensor<D>) -> f64 {
    TensorStats::of(&values(tensor)).tensor_norm
}

fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-5 * b.abs(), "{a} is not {b}");
}

#[derive(Module, Debug)]
struct Mlp {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Mlp {
    fn new(depth: usize, device: &Device) -> Self {
        device.seed(7);
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            hidden: (0..depth)
                .map(|index| linear(if index == 0 { 3 } else { 8 }, 8))
                .collect(),
            output: linear(8, 2),
        }
    }

    fn loss(&self, input: Tensor<2>) -> Tensor<1> {
        let last = self
            .hidden
            .iter()
            .fold(input, |before, layer| layer.forward(before).tanh());
        self.output.forward(last).square().mean()
    }
}

fn input(size: f64, device: &Device) -> Tensor<2> {
    Tensor::random([16, 3], Distribution::Normal(0.0, size), device)
}
