// Before each optimizer step: `let grads = clip_global_norm(&model, grads);`
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

const MAX_NORM: f64 = 2.5;

struct GlobalNorm {
    grads: GradientsParams,
    norm: f64,
    scale: Option<f64>,
}

impl ModuleVisitor for GlobalNorm {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else {
            return;
        };
        if let Some(scale) = self.scale {
            self.grads.register(param.id, grad.mul_scalar(scale));
            return;
        }
        // Divided by the largest value first: the squares of an exploding gradient overflow f32.
        let peak: f64 = grad.clone().max_abs().into_scalar();
        if peak != 0.0 {
            let relative: f64 = grad.div_scalar(peak).square().sum().into_scalar();
            self.norm = self.norm.hypot(peak * relative.sqrt());
        }
    }
}

fn clip_global_norm<M: Module>(model: &M, grads: GradientsParams) -> GradientsParams {
    let (norm, scale) = (0.0, None);
    let mut visitor = GlobalNorm { grads, norm, scale };
    model.visit(&mut visitor);
    if visitor.norm.is_finite() && visitor.norm > MAX_NORM {
        visitor.scale = Some(MAX_NORM / visitor.norm);
        model.visit(&mut visitor);
    }
    visitor.grads
}
