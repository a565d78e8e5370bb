// In the model's forward, for every residual block, instead of `x = block.forward(x);`:
// `x = scale_residual(x.clone(), block.forward(x));`
use burn::tensor::Tensor;

const RESIDUAL_SCALE: f64 = 0.25;

fn scale_residual<const D: usize>(input: Tensor<D>, output: Tensor<D>) -> Tensor<D> {
    input.clone() + (output - input) * RESIDUAL_SCALE
}
