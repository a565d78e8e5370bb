//! The norms that an optimizer measured while it stepped, in place of a second look at the weights.

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use steadygrad::clip::Needs;
use steadygrad::stats::TensorStats;

use crate::measure::{
    Measurement, ParameterOnHost, difference, host_tensors, measure_with_parameters, of_measured,
    tensor_norms, weights,
};
use crate::optim::ledger::Entry;

/// What optimizers measured of the last step that was applied.
///
/// An entry shares the memory of the weights that it was measured of, so nobody can write into
/// them while it is kept. Weights that a model still has need no second look.
#[derive(Clone, Default)]
pub(crate) struct SelfMeasured {
    /// The parameters that had a gradient.
    ids: Vec<ParamId>,
    /// One entry for each of `ids`, or none at all.
    entries: Vec<Entry>,
}

impl SelfMeasured {
    /// Keeps the entries of the step that led to the model `after`, if they describe that model.
    ///
    /// They must cover all parameters that had a gradient, and be of the weights that the model has
    /// now. An optimizer of another make enters nothing. One that wraps another optimizer may
    /// change the weights which that one has measured.
    ///
    /// `trusted` says whether the entries of the step before described their model. Then one check
    /// is enough: somebody else, most likely the model, shares the weights of each entry. A wrapper
    /// that changes the weights but keeps a copy is found out at the next step.
    pub(crate) fn new<M: Module>(
        ids: Vec<ParamId>,
        after: &M,
        measurement: &Measurement,
        entries: Vec<Entry>,
        trusted: bool,
    ) -> Self {
        let describe_the_model = entries.len() == ids.len()
            && if trusted {
                entries.iter().all(|(weights, _)| weights.is_shared())
            } else {
                let parameters = host_tensors(after);
                of_measured(&parameters, measurement).zip(&entries).all(
                    |((_, tensor), (weights, _))| {
                        let tensor = tensor.as_ref();
                        tensor.is_some_and(|tensor| weights.is_same(tensor))
                    },
                )
            };
        let entries = if describe_the_model {
            entries
        } else {
            Vec::new()
        };
        Self { ids, entries }
    }

    /// Whether the optimizers measured the last step, and it was of these parameters.
    pub(crate) fn covers(&self, ids: &[ParamId]) -> bool {
        self.entries.len() == ids.len() && self.ids == ids
    }

    /// L2 norm of each parameter's change; `None` if not all were measured.
    fn update_norms(&self) -> Option<Vec<f64>> {
        let norms = self.entries.iter().map(|(_, norms)| norms.update_norm);
        (self.entries.len() == self.ids.len()).then(|| norms.collect())
    }
}

/// The weights before a step.
pub(crate) struct WeightReading {
    /// The parameters that have a gradient.
    pub(crate) ids: Vec<ParamId>,
    /// L2 norm of each of them, in the order of the gradients.
    pub(crate) norms: Vec<f64>,
    /// Whether all weights are as the last step left them, and were measured then.
    pub(crate) as_measured: bool,
    /// Whether somebody else holds the measured weights while the model has others. Most likely an
    /// optimizer wraps the one that measured. The last step's update norms are then not the
    /// model's.
    pub(crate) replaced: bool,
}

/// Gradients and weights before a step.
pub(crate) struct StepMeasurement {
    pub(crate) gradients: Measurement,
    pub(crate) weights: WeightReading,
}

/// Measures the gradients, and reads the weights of the parameters that have one.
pub(crate) fn measure_step<M: Module>(
    model: &M,
    gradients: &GradientsParams,
    needs: Needs,
    self_measured: &SelfMeasured,
) -> StepMeasurement {
    let mut gradients = measure_with_parameters(model, gradients, needs);
    let weights = read_weights(model, &mut gradients, self_measured);
    StepMeasurement { gradients, weights }
}

/// Reads the norms of the weights, and drops the parameters from `measurement`: from then on
/// nothing here shares their memory.
fn read_weights<M: Module>(
    model: &M,
    measurement: &mut Measurement,
    self_measured: &SelfMeasured,
) -> WeightReading {
    let parameters = std::mem::take(&mut measurement.parameters);
    let ids: Vec<ParamId> = parameters.iter().map(|(id, _)| *id).collect();
    let mut entries = if self_measured.ids == ids {
        self_measured.entries.iter()
    } else {
        [].iter()
    };
    let (mut as_measured, mut replaced) = (self_measured.covers(&ids), false);
    let norm = |(_, tensor): &ParameterOnHost| {
        let tensor = tensor.as_ref()?;
        match entries.next() {
            Some((weights, norms)) if weights.is_same(tensor) => Some(norms.weight_norm),
            entry => {
                as_measured = false;
                replaced |= entry.is_some_and(|(weights, _)| weights.is_shared());
                Some(TensorStats::of(tensor.values()?).tensor_norm)
            }
        }
    };
    let in_place: Option<Vec<f64>> = parameters.iter().map(norm).collect();
    as_measured &= in_place.is_some();
    let norms = in_place.unwrap_or_else(|| tensor_norms(model, &weights(model), measurement));
    WeightReading {
        ids,
        norms,
        as_measured,
        replaced,
    }
}

/// L2 norm of the change of each parameter whose gradient was measured, in the order of the
/// gradients.
///
/// Without the model `before` the step, only the optimizers' own norms are left; `None` when they
/// are not complete.
pub(crate) fn update_norms<M: Module>(
    before: Option<&M>,
    after: &M,
    measurement: &Measurement,
    self_measured: &SelfMeasured,
) -> Option<Vec<f64>> {
    let own = self_measured.update_norms();
    let (None, Some(before)) = (&own, before) else {
        return own;
    };
    let (befores, afters) = (host_tensors(before), host_tensors(after));
    let in_place: Option<Vec<f64>> = of_measured(&befores, measurement)
        .zip(of_measured(&afters, measurement))
        .map(|((_, before), (_, after))| before.as_ref()?.distance(after.as_ref()?))
        .collect();
    in_place.or_else(|| Some(tensor_norms(after, &difference(before, after), measurement)))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;
    use crate::gradient_stats;
    use crate::weights::perturb;

    #[test]
    fn both_ways_to_the_norm_of_an_update_agree() {
        let device = Device::flex().autodiff();
        let before = LinearConfig::new(37, 5).init(&device);
        let direction = [vec![0.25f32; 37 * 5], vec![-3.0; 5]];
        let after = perturb(before.clone(), &direction, 0.5);
        let given = weights(&before);
        let measured = measure_step(&before, &given, Needs::Stats, &SelfMeasured::default());
        let (measurement, own) = (measured.gradients, measured.weights.norms);
        let nothing = &SelfMeasured::new(
            measured.weights.ids,
            &after,
            &measurement,
            Vec::new(),
            false,
        );
        let by_tensors = tensor_norms(&after, &difference(&before, &after), &measurement);
        let in_place = update_norms(Some(&before), &after, &measurement, nothing);
        let expected = [0.125 * 185f64.sqrt(), 1.5 * 5f64.sqrt()];
        for norms in [by_tensors, in_place.unwrap()] {
            assert_eq!(norms.len(), 2);
            for (norm, expected) in norms.iter().zip(expected) {
                assert!((norm / expected - 1.0).abs() < 1e-6, "{norm} {expected}");
            }
        }
        let unmoved = update_norms(Some(&before), &before, &measurement, nothing);
        assert_eq!(unmoved, Some(vec![0.0, 0.0]));
        assert_eq!(update_norms(None, &after, &measurement, nothing), None);
        // The control: the norms of the weights themselves are different numbers.
        assert_ne!(own, expected);
        assert_eq!(own, tensor_norms(&before, &weights(&before), &measurement));
        let stats = gradient_stats(&before, &weights(&before));
        assert_eq!(own[0], stats.tensors[0].stats.tensor_norm);
    }
}
