use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::clip::Needs;
use steadygrad::stats::GradientStats;
use steadygrad::{Decision, Workers};

use crate::apply::apply;
use crate::measure::measure_gradients;
use crate::parameters::read;

/// Measures every parameter's gradient, in module order.
///
/// A parameter without a gradient has no entry. NaN and infinite values are counted, and make the
/// norm NaN or infinite. CPU gradients are read in place. On other devices all statistics come back
/// in one read.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex().autodiff();
/// let model: Linear = LinearConfig::new(3, 1).init(&device);
/// // The gradient of the sum is 2 for each weight and each bias: the batch has two rows of ones.
/// let loss = model.forward(Tensor::<2>::ones([2, 3], &device)).sum();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// let stats = steadygrad_burn::gradient_stats(&model, &gradients);
/// assert_eq!(stats.tensors[0].name, "weight");
/// assert!((stats.global_norm() - 4.0).abs() < 1e-12);
/// ```
pub fn gradient_stats<M: Module>(module: &M, gradients: &GradientsParams) -> GradientStats {
    measure_gradients(module, gradients, Needs::Stats).gradient_stats()
}

/// Returns every parameter's gradient as f32 values, in module order. A parameter without a
/// gradient has no entry.
pub fn gradient_values<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<Vec<f32>> {
    struct Collector<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.push(read(gradient));
            }
        }
    }
    let mut collector = Collector(gradients, Vec::new());
    module.visit(&mut collector);
    collector.1
}

/// Multiplies every gradient of the module by `coefficient`, on the gradient's own device.
pub fn scale_gradients<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    coefficient: f64,
) -> GradientsParams {
    let decision = Decision::ScaleGlobal { coefficient };
    let workers = Workers::single();
    apply(module, &mut gradients, &decision, None, &[], &workers);
    gradients
}
