use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::clip::Needs;
use steadygrad::stats::Values;

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
    norms(module, &weights(module), measured)
}

/// L2 norm of the change of each parameter whose gradient was measured, in the order of the
/// gradients.
pub(crate) fn update_norms<M: Module>(before: &M, after: &M, measured: &Measured) -> Vec<f64> {
    on_host(before, after, measured)
        .unwrap_or_else(|| norms(after, &difference(before, after), measured))
}

/// The norms of what `tensors` has for each parameter.
fn norms<M: Module>(module: &M, tensors: &GradientsParams, measured: &Measured) -> Vec<f64> {
    let all = measure_gradients(module, tensors, Needs::Stats);
    let names = measured.names.iter().zip(all.reading.tensors);
    names
        .filter(|(name, _)| name.is_some())
        .map(|(_, reading)| reading.stats.tensor_norm)
        .collect()
}

/// The norms of the changes, from the memory of both models, without a third; `None` when that is
/// not to be had.
fn on_host<M: Module>(before: &M, after: &M, measured: &Measured) -> Option<Vec<f64>> {
    // On the way that the gradients were measured on; no name is asked for.
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
    let collect = |module: &M| {
        let mut collect = Collect {
            walk: Walk::new(&[]),
            tensors: Vec::new(),
        };
        module.visit(&mut collect);
        collect.tensors
    };
    let (before, after) = (collect(before), collect(after));
    let pairs = measured.names.iter().zip(before.iter().zip(&after));
    pairs
        .filter(|(name, _)| name.is_some())
        .map(|(_, (before, after))| distance(before.as_ref()?.values()?, after.as_ref()?.values()?))
        .collect()
}

/// `|after - before|`, summed in f64; `None` for other types than f32.
fn distance(before: Values<'_>, after: Values<'_>) -> Option<f64> {
    const LANES: usize = 16;
    let (Values::F32(before), Values::F32(after)) = (before, after) else {
        return None;
    };
    let square = |before: &f32, after: &f32| f64::from(after - before).powi(2);
    let mut sums = [0.0; LANES];
    let (befores, afters) = (before.chunks_exact(LANES), after.chunks_exact(LANES));
    let rest = befores.remainder().iter().zip(afters.remainder());
    let rest: f64 = rest.map(|(before, after)| square(before, after)).sum();
    for (before, after) in befores.zip(afters) {
        for lane in 0..LANES {
            sums[lane] += square(&before[lane], &after[lane]);
        }
    }
    Some((sums.iter().sum::<f64>() + rest).sqrt())
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
        let stats = gradient_stats(&before, &weights(&before));
        assert_eq!(own[0], stats.tensors[0].stats.tensor_norm);
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let of = |before: &[f32], after: &[f32]| {
            distance(Values::F32(before), Values::F32(after)).unwrap()
        };
        assert!(of(&[1.0], &[f32::NAN]).is_nan());
        assert_eq!(of(&[0.0; 20], &[f32::INFINITY; 20]), f64::INFINITY);
        assert_eq!(of(&[], &[]), 0.0);
        // Beyond f32's range when squared, not beyond f64's.
        assert!((of(&[0.0], &[1e30]) / 1e30 - 1.0).abs() < 1e-6);
    }
}
