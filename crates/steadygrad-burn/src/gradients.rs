use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::clip::Needs;
use steadygrad::stats::GradientStats;
use steadygrad::{Decision, Workers};

use crate::apply::apply;
use crate::measure::measure_gradients;
use crate::parameters::read;

/// Statistics of every parameter's gradient, in module order. A parameter without a gradient has
/// no entry. The gradients are only read: in place on the CPU backend, and on other devices with
/// one read-back of all statistics together.
pub fn gradient_stats<M: Module>(module: &M, gradients: &GradientsParams) -> GradientStats {
    measure_gradients(module, gradients, Needs::Stats).gradient_stats()
}

/// Every parameter's gradient as f32 values, in module order.
pub fn gradient_values<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for_each_gradient(module, gradients, |_, values| all.push(values));
    all
}

/// Multiplies every gradient of the module by `coefficient`, on its own device.
pub fn scale_gradients<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    coefficient: f64,
) -> GradientsParams {
    let decision = Decision::ScaleGlobal { coefficient };
    apply(
        module,
        &mut gradients,
        &decision,
        None,
        &[],
        &Workers::single(),
    );
    gradients
}

fn for_each_gradient<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    visit: impl FnMut(String, Vec<f32>),
) {
    struct Visitor<'a, F> {
        path: Vec<String>,
        gradients: &'a GradientsParams,
        visit: F,
    }
    impl<F: FnMut(String, Vec<f32>)> ModuleVisitor for Visitor<'_, F> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                (self.visit)(self.path.join("."), read(gradient));
            }
        }
    }
    module.visit(&mut Visitor {
        path: Vec::new(),
        gradients,
        visit,
    });
}
