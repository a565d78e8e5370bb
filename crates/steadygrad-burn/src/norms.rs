use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::clip::Needs;
use steadygrad::stats::{TensorStats, Values, distance};

use crate::host::HostTensor;
use crate::measure::{Measured, measure_gradients};
use crate::walk::Walk;

/// The parameters themselves, as a list of the kind that gradients come in. No value is copied.
fn weights<M: Module>(module: &M) -> GradientsParams {
    struct Collect(GradientsParams);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().inner());
        }
    }
    let mut collect = Collect(GradientsParams::new());
    module.visit(&mut collect);
    collect.0
}

/// `after - before` of every trainable parameter.
pub(crate) fn difference<M: Module>(before: &M, after: &M) -> GradientsParams {
    struct Subtract(GradientsParams, GradientsParams);
    impl ModuleVisitor for Subtract {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(before) = self.0.remove::<D>(param.id) {
                self.1.register(param.id, param.val().inner() - before);
            }
        }
    }
    let mut subtract = Subtract(weights(before), GradientsParams::new());
    after.visit(&mut subtract);
    subtract.1
}

/// The model on the way from `before` to `after`: each trainable parameter is
/// `before + share (after - before)`.
pub(crate) fn towards<M: Module>(before: &M, after: M, share: f64) -> M {
    struct Towards(GradientsParams, f64);
    impl ModuleMapper for Towards {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(before) = self.0.remove::<D>(param.id) else {
                return param;
            };
            let share = self.1;
            param.map(|after| {
                let trainable = after.is_require_grad();
                let change = (after.inner() - before.clone()).mul_scalar(share);
                let tensor = Tensor::from_inner(before + change);
                if trainable {
                    tensor.require_grad()
                } else {
                    tensor
                }
            })
        }
    }
    after.map(&mut Towards(weights(before), share))
}

/// L2 norm of each parameter whose gradient was measured, in the order of the gradients.
pub(crate) fn weight_norms<M: Module>(module: &M, measured: &Measured) -> Vec<f64> {
    let on_host = host_tensors(module);
    of_measured(&on_host, measured)
        .map(|tensor| Some(TensorStats::of(tensor.as_ref()?.values()?).tensor_norm))
        .collect::<Option<Vec<f64>>>()
        .unwrap_or_else(|| norms(module, &weights(module), measured))
}

/// L2 norm of the change of each parameter whose gradient was measured, in the order of the
/// gradients.
pub(crate) fn update_norms<M: Module>(before: &M, after: &M, measured: &Measured) -> Vec<f64> {
    let (befores, afters) = (host_tensors(before), host_tensors(after));
    let pairs = of_measured(&befores, measured).zip(of_measured(&afters, measured));
    pairs
        .map(
            |(before, after)| match (before.as_ref()?.values()?, after.as_ref()?.values()?) {
                (Values::F32(before), Values::F32(after)) => Some(distance(before, after)),
                _ => None,
            },
        )
        .collect::<Option<Vec<f64>>>()
        .unwrap_or_else(|| norms(after, &difference(before, after), measured))
}

/// The norms of what `tensors` has for each parameter, wherever it lies.
fn norms<M: Module>(module: &M, tensors: &GradientsParams, measured: &Measured) -> Vec<f64> {
    let all = measure_gradients(module, tensors, Needs::Stats);
    of_measured(&all.reading.tensors, measured)
        .map(|reading| reading.stats.tensor_norm)
        .collect()
}

/// Of a list with one entry a parameter, those whose gradient was measured.
fn of_measured<'a, T>(
    parameters: &'a [T],
    measured: &'a Measured,
) -> impl Iterator<Item = &'a T> + 'a {
    let pairs = measured.names.iter().zip(parameters);
    pairs.filter_map(|(name, parameter)| name.is_some().then_some(parameter))
}

/// The parameters themselves, on the way that the gradients were measured on; `None` for one that is
/// not in this machine's memory. No name is asked for.
fn host_tensors<M: Module>(module: &M) -> Vec<Option<HostTensor>> {
    struct Collect {
        walk: Walk<'static>,
        tensors: Vec<Option<HostTensor>>,
    }
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.walk.arrive(param.id).is_some() {
                self.tensors.push(HostTensor::new(&param.val().inner()));
            }
        }
    }
    let mut collect = Collect {
        walk: Walk::new(&[]),
        tensors: Vec::new(),
    };
    module.visit(&mut collect);
    collect.tensors
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;
    use crate::{gradient_stats, perturb};

    #[test]
    fn both_ways_to_the_norm_of_an_update_agree() {
        let device = Device::flex().autodiff();
        let before = LinearConfig::new(37, 5).init(&device);
        let direction = [vec![0.25f32; 37 * 5], vec![-3.0; 5]];
        let after = perturb(before.clone(), &direction, 0.5);
        let measured = measure_gradients(&before, &weights(&before), Needs::Stats);
        let by_tensors = norms(&after, &difference(&before, &after), &measured);
        let in_place = update_norms(&before, &after, &measured);
        let expected = [0.125 * 185f64.sqrt(), 1.5 * 5f64.sqrt()];
        for norms in [by_tensors, in_place] {
            assert_eq!(norms.len(), 2);
            for (norm, expected) in norms.iter().zip(expected) {
                assert!((norm / expected - 1.0).abs() < 1e-6, "{norm} {expected}");
            }
        }
        assert_eq!(update_norms(&before, &before, &measured), [0.0, 0.0]);
        // The control: the weights' own norms are others.
        let own = weight_norms(&before, &measured);
        assert_ne!(own, expected);
        assert_eq!(own, norms(&before, &weights(&before), &measured));
        let stats = gradient_stats(&before, &weights(&before));
        assert_eq!(own[0], stats.tensors[0].stats.tensor_norm);
    }
}
