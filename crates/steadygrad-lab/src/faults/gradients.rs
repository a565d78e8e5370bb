use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use half::f16;

/// The gradients after mixed-precision training: each value is multiplied by the loss scale,
/// rounded to f16 and divided by the loss scale.
pub(super) fn through_f16<M: Module>(
    model: &M,
    gradients: GradientsParams,
    loss_scale: f64,
) -> GradientsParams {
    struct Visitor {
        gradients: GradientsParams,
        loss_scale: f64,
    }
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(gradient) = self.gradients.remove::<D>(param.id) else {
                return;
            };
            let (shape, device, dtype) = (gradient.dims(), gradient.device(), gradient.dtype());
            let values: Vec<f64> = gradient
                .into_data()
                .iter::<f64>()
                .map(|value| f16::from_f64(value * self.loss_scale).to_f64() / self.loss_scale)
                .collect();
            let rounded = Tensor::<D>::from_data(TensorData::new(values, shape), (&device, dtype));
            self.gradients.register(param.id, rounded);
        }
    }
    let mut visitor = Visitor {
        gradients,
        loss_scale,
    };
    model.visit(&mut visitor);
    visitor.gradients
}
