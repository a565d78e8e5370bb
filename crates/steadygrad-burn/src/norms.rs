use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::clip::Needs;
use steadygrad::stats::TensorStats;

use crate::host::HostTensor;
use crate::measure::{Measured, OnHost, measure_gradients};
use crate::optim::ledger::Entry;
use crate::walk::{PARAMETERS, Walk};

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

/// What optimizers measured of the last step that was applied. As long as it is kept, nobody writes
/// into the weights that it was measured of: those that a model still has need no reading again.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// The parameters that had a gradient.
    ids: Vec<ParamId>,
    /// One for each of them, or none.
    entries: Vec<Entry>,
}

impl Known {
    /// What was entered during the step that led to this model, if it is of all its parameters that
    /// had a gradient, and of the weights that it has now: an optimizer of another make enters
    /// nothing, and one around an optimizer may change what that has measured.
    ///
    /// `trusted` is whether that was so one step before: then weights that nobody but the entry has
    /// are the only sign that is looked for. Whoever changes weights of which it keeps a copy is found
    /// out at the next step.
    pub(crate) fn new<M: Module>(
        ids: Vec<ParamId>,
        after: &M,
        measured: &Measured,
        entries: Vec<Entry>,
        trusted: bool,
    ) -> Self {
        let are_the_models = entries.len() == ids.len()
            && if trusted {
                entries.iter().all(|(weights, _)| weights.is_shared())
            } else {
                let parameters = host_tensors(after);
                of_measured(&parameters, measured).zip(&entries).all(
                    |((_, tensor), (weights, _))| {
                        let tensor = tensor.as_ref();
                        tensor.is_some_and(|tensor| weights.is_same(tensor))
                    },
                )
            };
        let entries = if are_the_models { entries } else { Vec::new() };
        Self { ids, entries }
    }

    /// Whether the optimizers measure a step of these parameters: those of the last step were the
    /// same, and did.
    pub(crate) fn covers(&self, ids: &[ParamId]) -> bool {
        self.entries.len() == ids.len() && self.ids == ids
    }

    /// L2 norm of each parameter's change, if known.
    fn update_norms(&self) -> Option<Vec<f64>> {
        let norms = self.entries.iter().map(|(_, norms)| norms.update_norm);
        (self.entries.len() == self.ids.len()).then(|| norms.collect())
    }
}

/// The weights before a step.
pub(crate) struct Weights {
    /// The parameters that had a gradient.
    pub(crate) ids: Vec<ParamId>,
    /// L2 norm of each of them, in the order of the gradients.
    pub(crate) norms: Vec<f64>,
    /// Whether all are as the last step left them, and were measured then.
    pub(crate) as_known: bool,
    /// Whether somebody else holds what was measured and the model has other weights: most likely an
    /// optimizer around the one that measured. Then the last step's update norms are not the model's.
    pub(crate) replaced: bool,
}

/// Reads the weights of what was measured with its parameters, and lets go of these: their memory is
/// not shared any more.
pub(crate) fn weight_norms<M: Module>(
    model: &M,
    measured: &mut Measured,
    known: &Known,
) -> Weights {
    let parameters = std::mem::take(&mut measured.parameters);
    let ids: Vec<ParamId> = parameters.iter().map(|(id, _)| *id).collect();
    let mut entries = if known.ids == ids {
        known.entries.iter()
    } else {
        [].iter()
    };
    let (mut as_known, mut replaced) = (known.covers(&ids), false);
    let norm = |(_, tensor): &OnHost| {
        let tensor = tensor.as_ref()?;
        match entries.next() {
            Some((weights, norms)) if weights.is_same(tensor) => Some(norms.weight_norm),
            entry => {
                as_known = false;
                replaced |= entry.is_some_and(|(weights, _)| weights.is_shared());
                Some(TensorStats::of(tensor.values()?).tensor_norm)
            }
        }
    };
    let in_place: Option<Vec<f64>> = parameters.iter().map(norm).collect();
    as_known &= in_place.is_some();
    let norms = in_place.unwrap_or_else(|| norms(model, &weights(model), measured));
    Weights {
        ids,
        norms,
        as_known,
        replaced,
    }
}

/// L2 norm of the change of each parameter whose gradient was measured, in the order of the
/// gradients. Without the model before the step, what is known; `None` when that is not all.
pub(crate) fn update_norms<M: Module>(
    before: Option<&M>,
    after: &M,
    measured: &Measured,
    known: &Known,
) -> Option<Vec<f64>> {
    let known = known.update_norms();
    let (None, Some(before)) = (&known, before) else {
        return known;
    };
    let (befores, afters) = (host_tensors(before), host_tensors(after));
    let in_place: Option<Vec<f64>> = of_measured(&befores, measured)
        .zip(of_measured(&afters, measured))
        .map(|((_, before), (_, after))| before.as_ref()?.distance(after.as_ref()?))
        .collect();
    in_place.or_else(|| Some(norms(after, &difference(before, after), measured)))
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

/// The parameters themselves, on the way that the gradients were measured on. No name is asked for.
fn host_tensors<M: Module>(module: &M) -> Vec<OnHost> {
    struct Collect {
        walk: Walk<'static>,
        tensors: Vec<OnHost>,
    }
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.walk.arrive(param.id).is_some() {
                let tensor = HostTensor::take(param.val().inner()).ok();
                self.tensors.push((param.id, tensor));
            }
        }
    }
    let mut collect = Collect {
        walk: Walk::new(&[]),
        tensors: Vec::with_capacity(PARAMETERS),
    };
    module.visit(&mut collect);
    collect.tensors
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;
    use crate::measure::measure_with_parameters;
    use crate::{gradient_stats, perturb};

    #[test]
    fn both_ways_to_the_norm_of_an_update_agree() {
        let device = Device::flex().autodiff();
        let before = LinearConfig::new(37, 5).init(&device);
        let direction = [vec![0.25f32; 37 * 5], vec![-3.0; 5]];
        let after = perturb(before.clone(), &direction, 0.5);
        let mut measured = measure_with_parameters(&before, &weights(&before), Needs::Stats);
        let Weights {
            ids, norms: own, ..
        } = weight_norms(&before, &mut measured, &Known::default());
        let known = &Known::new(ids, &after, &measured, Vec::new(), false);
        let by_tensors = norms(&after, &difference(&before, &after), &measured);
        let in_place = update_norms(Some(&before), &after, &measured, known);
        let expected = [0.125 * 185f64.sqrt(), 1.5 * 5f64.sqrt()];
        for norms in [by_tensors, in_place.unwrap()] {
            assert_eq!(norms.len(), 2);
            for (norm, expected) in norms.iter().zip(expected) {
                assert!((norm / expected - 1.0).abs() < 1e-6, "{norm} {expected}");
            }
        }
        let unmoved = update_norms(Some(&before), &before, &measured, known);
        assert_eq!(unmoved, Some(vec![0.0, 0.0]));
        assert_eq!(update_norms(None, &after, &measured, known), None);
        // The control: the weights' own norms are others.
        assert_ne!(own, expected);
        assert_eq!(own, norms(&before, &weights(&before), &measured));
        let stats = gradient_stats(&before, &weights(&before));
        assert_eq!(own[0], stats.tensors[0].stats.tensor_norm);
    }
}
