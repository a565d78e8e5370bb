//! Weights, and what a step changed, as lists of tensors that can be measured like gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::clip::Needs;

use super::host::HostTensor;
use super::measurement::{Measurement, ParameterOnHost, measure_gradients};
use super::walk::{PARAMETERS, Walk};

/// The weights, in the container that gradients come in. No value is copied.
pub(crate) fn weights<M: Module>(module: &M) -> GradientsParams {
    struct Collector(GradientsParams);
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().inner());
        }
    }
    let mut collector = Collector(GradientsParams::new());
    module.visit(&mut collector);
    collector.0
}

/// `after - before` of every parameter.
pub(crate) fn difference<M: Module>(before: &M, after: &M) -> GradientsParams {
    struct Subtractor {
        before: GradientsParams,
        changes: GradientsParams,
    }
    impl ModuleVisitor for Subtractor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(before) = self.before.remove::<D>(param.id) {
                self.changes
                    .register(param.id, param.val().inner() - before);
            }
        }
    }
    let mut subtractor = Subtractor {
        before: weights(before),
        changes: GradientsParams::new(),
    };
    after.visit(&mut subtractor);
    subtractor.changes
}

/// The L2 norm of the entry that `tensors` has for each parameter whose gradient was measured,
/// wherever the entry lies.
pub(crate) fn tensor_norms<M: Module>(
    module: &M,
    tensors: &GradientsParams,
    measurement: &Measurement,
) -> Vec<f64> {
    let all = measure_gradients(module, tensors, Needs::Stats);
    of_measured(&all.reading.tensors, measurement)
        .map(|reading| reading.stats.tensor_norm)
        .collect()
}

/// Selects the parameters whose gradient was measured, from a list with one entry a parameter.
pub(crate) fn of_measured<'a, T>(
    parameters: &'a [T],
    measurement: &'a Measurement,
) -> impl Iterator<Item = &'a T> + 'a {
    let pairs = measurement.names.iter().zip(parameters);
    pairs.filter_map(|(name, parameter)| name.is_some().then_some(parameter))
}

/// Every parameter's tensor, in the order of [`Walk`].
pub(crate) fn host_tensors<M: Module>(module: &M) -> Vec<ParameterOnHost> {
    struct Collector {
        walk: Walk<'static>,
        tensors: Vec<ParameterOnHost>,
    }
    // Without `enter_module`: nothing is exempt here, so no path is needed.
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.walk.arrive(param.id).is_some() {
                let tensor = HostTensor::take(param.val().inner()).ok();
                self.tensors.push((param.id, tensor));
            }
        }
    }
    let mut collector = Collector {
        walk: Walk::new(&[]),
        tensors: Vec::with_capacity(PARAMETERS),
    };
    module.visit(&mut collector);
    collector.tensors
}
