// Each repeated layer gets a field `norm: Option<RmsNorm>`, built by `layer_norm(index, width,
// device)`, and runs `before = normalize(&self.norm, before)` right before its activation. The cell
// of a recurrent network is layer 0, at every time step.
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

const EVERY: usize = 3;

fn layer_norm(index: usize, width: usize, device: &Device) -> Option<RmsNorm> {
    let normalized = index.is_multiple_of(EVERY);
    normalized.then(|| RmsNormConfig::new(width).init(device))
}

fn normalize<const D: usize>(norm: &Option<RmsNorm>, before: Tensor<D>) -> Tensor<D> {
    match norm {
        Some(norm) => norm.forward(before),
        None => before,
    }
}
