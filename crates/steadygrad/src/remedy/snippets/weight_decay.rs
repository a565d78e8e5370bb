// After each optimizer step: `model = decay_weights(model, learning_rate);`, with the learning rate
// of that step.
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

const WEIGHT_DECAY: f64 = 0.5;

struct Decay {
    factor: f64,
}

impl ModuleMapper for Decay {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| match weight.is_require_grad() {
            true => (weight.set_require_grad(false) * self.factor).require_grad(),
            false => weight,
        })
    }
}

fn decay_weights<M: Module>(model: M, learning_rate: f64) -> M {
    let factor = 1.0 - learning_rate * WEIGHT_DECAY;
    model.map(&mut Decay { factor })
}
