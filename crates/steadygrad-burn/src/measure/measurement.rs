//! Measures all gradients of a module: CPU tensors in place, and device tensors with one read of
//! all their results.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use steadygrad::Workers;
use steadygrad::clip::{ClipReading, Needs, TensorReading, UnitNorms};
use steadygrad::stats::{GradientStats, NamedStats, TensorStats, Values};

use super::device;
use super::host::HostTensor;
use super::moments::Moments;
use super::walk::{PARAMETERS, Walk};

/// The tensors of one step, by parameter.
#[derive(Clone, Copy)]
pub(crate) struct Tensors<'a> {
    pub(crate) gradients: &'a GradientsParams,
    /// The running means of the squared gradient.
    pub(crate) moments: &'a Moments,
    /// The changes that the optimizer made.
    pub(crate) updates: Option<&'a GradientsParams>,
    /// Parameters to leave out, by dotted path.
    pub(crate) exempt: &'a [String],
    /// Whether to collect the parameters themselves, too.
    pub(crate) parameters: bool,
}

/// The measurements of a module's gradients.
pub(crate) struct Measurement {
    /// The parameters' dotted paths; `None` for a parameter without a gradient.
    pub(crate) names: Vec<Option<String>>,
    pub(crate) reading: ClipReading,
    /// The parameters that have a gradient, if [`Tensors::parameters`] asked for them. While they
    /// are kept here, they share the model's memory.
    pub(crate) parameters: Vec<ParameterOnHost>,
}

/// A parameter and its tensor; `None` if the tensor lies on a device.
pub(crate) type ParameterOnHost = (ParamId, Option<HostTensor>);

impl Measurement {
    /// The statistics by name. A parameter without a gradient has no entry.
    pub(crate) fn gradient_stats(&self) -> GradientStats {
        let pairs = self.names.iter().zip(&self.reading.tensors);
        GradientStats {
            tensors: pairs
                .filter_map(|(name, reading)| {
                    Some(NamedStats {
                        name: name.clone()?,
                        stats: reading.stats,
                    })
                })
                .collect(),
        }
    }
}

/// Measures every parameter's gradient on the calling thread.
pub(crate) fn measure_gradients<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    needs: Needs,
) -> Measurement {
    measure_all(module, gradients, needs, false)
}

/// Measures every parameter's gradient on the calling thread, and collects the parameters.
pub(crate) fn measure_with_parameters<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    needs: Needs,
) -> Measurement {
    measure_all(module, gradients, needs, true)
}

fn measure_all<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    needs: Needs,
    parameters: bool,
) -> Measurement {
    let tensors = Tensors {
        gradients,
        moments: &Moments::default(),
        updates: None,
        exempt: &[],
        parameters,
    };
    measure(module, tensors, needs, &Workers::single())
}

/// Measures every parameter that is not exempt, in module order.
///
/// A parameter without a gradient gets an empty entry: a policy remembers parameters by their
/// place.
pub(crate) fn measure<M: Module>(
    module: &M,
    tensors: Tensors<'_>,
    needs: Needs,
    workers: &Workers,
) -> Measurement {
    let mut visitor = Collector {
        walk: Walk::new(tensors.exempt),
        tensors,
        needs,
        slots: Vec::with_capacity(PARAMETERS),
        parameters: Vec::new(),
        pieces: Vec::new(),
    };
    module.visit(&mut visitor);
    let Collector {
        slots,
        parameters,
        pieces,
        ..
    } = visitor;

    let host: Vec<Values<'_>> = slots
        .iter()
        .filter_map(|slot| slot.host.as_ref()?.values())
        .collect();
    let mut host_stats = workers.measure(&host).into_iter();
    let read_back = read_back(pieces);
    let mut rest = &read_back[..];
    let mut names = Vec::with_capacity(slots.len());
    let mut readings = Vec::with_capacity(slots.len());
    for slot in &slots {
        let stats = match &slot.host {
            Some(_) => host_stats.next().unwrap_or_default(),
            None if slot.name.is_none() => TensorStats::default(),
            None => device::stats(slot.len, take(&mut rest, device::SUMMARY)),
        };
        readings.push(slot.reading(stats, &mut rest));
        names.push(slot.name.clone());
    }
    Measurement {
        names,
        reading: ClipReading { tensors: readings },
        parameters,
    }
}

/// One parameter that waits for its statistics. The default is one without a gradient.
#[derive(Default)]
struct Slot {
    name: Option<String>,
    len: usize,
    host: Option<HostTensor>,
    extra: Extra,
}

/// What follows the summary of a parameter in the values read back.
#[derive(Default)]
enum Extra {
    #[default]
    None,
    Units(usize),
    Beyond,
    UpdateRms,
    Headroom,
}

impl Slot {
    fn reading(&self, stats: TensorStats, rest: &mut &[f32]) -> TensorReading {
        let mut reading = TensorReading::from(stats);
        match self.extra {
            Extra::None => {}
            Extra::Units(count) => {
                let (gradients, weights) = (take(rest, count), take(rest, count));
                let pairs = gradients.iter().zip(weights);
                reading.units = pairs
                    .map(|(&gradient, &weight)| UnitNorms {
                        gradient: f64::from(gradient),
                        weight: f64::from(weight),
                    })
                    .collect();
            }
            Extra::Beyond => {
                reading.beyond_second_moment = Some(device::read_count(take(rest, 2)));
            }
            Extra::UpdateRms => reading.update_rms = Some(f64::from(take(rest, 1)[0])),
            Extra::Headroom => reading.headroom = Some(device::read_headroom(take(rest, 3))),
        }
        reading
    }
}

fn take<'a>(rest: &mut &'a [f32], count: usize) -> &'a [f32] {
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

/// Concatenates all pieces on the device of the first one, and reads them once.
fn read_back(pieces: Vec<Tensor<1>>) -> Vec<f32> {
    let Some(device) = pieces.first().map(Tensor::device) else {
        return Vec::new();
    };
    let pieces = pieces
        .into_iter()
        .map(|piece| piece.to_device(&device))
        .collect();
    let data = Tensor::cat(pieces, 0).into_data();
    data.try_into_vec_as::<f32>().expect("summaries are f32")
}

struct Collector<'a> {
    walk: Walk<'a>,
    tensors: Tensors<'a>,
    needs: Needs,
    slots: Vec<Slot>,
    parameters: Vec<ParameterOnHost>,
    /// Results on devices, still to be read.
    pieces: Vec<Tensor<1>>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.walk.enter(name, container_type);
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = self.walk.arrive(param.id).map(str::to_owned) else {
            return;
        };
        let Some(gradient) = self.tensors.gradients.get::<D>(param.id) else {
            self.slots.push(Slot::default());
            return;
        };
        if self.tensors.parameters {
            let tensor = HostTensor::take(param.val().inner()).ok();
            self.parameters.push((param.id, tensor));
        }
        let len = gradient.shape().num_elements();
        // Statistics alone, the usual case, need the gradient for nothing else: no clone.
        let (host, extra) = match self.needs {
            Needs::Stats => match HostTensor::take(gradient) {
                Ok(host) => (Some(host), Extra::None),
                Err(gradient) => {
                    self.pieces.push(device::summary(gradient));
                    (None, Extra::None)
                }
            },
            _ => {
                let host = HostTensor::new(&gradient);
                if host.is_none() {
                    self.pieces.push(device::summary(gradient.clone()));
                }
                (host, self.extra(param, gradient))
            }
        };
        self.slots.push(Slot {
            name: Some(name),
            len,
            host,
            extra,
        });
    }
}

impl Collector<'_> {
    /// Queues what the policy needs besides statistics.
    fn extra<const D: usize>(&mut self, param: &Param<Tensor<D>>, gradient: Tensor<D>) -> Extra {
        let weight = || param.val().inner();
        let moments = self.tensors.moments;
        match self.needs {
            Needs::Stats => Extra::None,
            Needs::UnitNorms => {
                let units = self.walk.units(&gradient.dims());
                let count = units.count(gradient.shape().num_elements());
                self.pieces.push(device::unit_norms(gradient, units));
                self.pieces.push(device::unit_norms(weight(), units));
                Extra::Units(count)
            }
            Needs::SecondMoment { ratio } => match moments.get::<D>(param.id) {
                Some(moment) => {
                    self.pieces.push(device::beyond(gradient, moment, ratio));
                    Extra::Beyond
                }
                None => Extra::None,
            },
            Needs::UpdateRms { eps } => match moments.corrected::<D>(param.id) {
                Some(moment) => {
                    self.pieces.push(device::update_rms(gradient, moment, eps));
                    Extra::UpdateRms
                }
                None => Extra::None,
            },
            Needs::Headroom {
                relative,
                accumulator,
                absolute,
            } => {
                let updates = self.tensors.updates;
                let Some(update) = updates.and_then(|updates| updates.get::<D>(param.id)) else {
                    return Extra::None;
                };
                let moment = moments.get::<D>(param.id);
                let by_moment = moment.map(|moment| moment.sqrt().recip() * accumulator);
                let room = device::headroom(update, weight(), by_moment, relative, absolute);
                self.pieces.push(room);
                Extra::Headroom
            }
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Distribution};
    use steadygrad::Decision;

    use super::*;
    use crate::apply::apply;
    use crate::measure::host::elsewhere;

    /// `[37, 5]` with gaps and two zeros, and `[5]` with a NaN.
    fn gradients(model: &Linear) -> GradientsParams {
        let device = Device::flex();
        device.seed(3);
        let mut wide = Tensor::<2>::random([37, 9], Distribution::Normal(0.0, 1.0), &device);
        wide = wide.slice_fill([7..9, 3..4], 0.0);
        let mut all = GradientsParams::new();
        all.register(model.weight.id, wide.narrow(1, 1, 5));
        if let Some(bias) = &model.bias {
            let ones = Tensor::<1>::ones([5], &device);
            all.register(bias.id, ones.slice_fill([2..=2], f32::NAN) * 3.0);
        }
        all
    }

    /// In place and by tensor operations, for all tensors, every second or every third.
    #[test]
    fn both_ways_to_read_and_to_scale_agree() {
        let model: Linear = LinearConfig::new(37, 5).init(&Device::flex().autodiff());
        let scaled = |one_in: usize| {
            elsewhere::one_in(one_in, || {
                let mut gradients = gradients(&model);
                let before = measure_gradients(&model, &gradients, Needs::Stats);
                let half = Decision::ScaleGlobal { coefficient: 0.5 };
                let workers = Workers::single();
                apply(&model, &mut gradients, &half, None, &[], &workers);
                let after = measure_gradients(&model, &gradients, Needs::Stats);
                [before, after].map(|measured| measured.gradient_stats().tensors)
            })
        };
        let here = scaled(usize::MAX);
        for one_in in [1, 2, 3] {
            let there = scaled(one_in);
            for (here, there) in here.iter().flatten().zip(there.iter().flatten()) {
                assert_eq!(here.name, there.name);
                let (here, there) = (here.stats, there.stats);
                assert_eq!(
                    (here.len, here.non_finite, here.zero),
                    (there.len, there.non_finite, there.zero)
                );
                assert_eq!(here.max_abs, there.max_abs);
                let (here, there) = (here.tensor_norm, there.tensor_norm);
                let close = (here / there - 1.0).abs() < 1e-5;
                assert!(close || here.is_nan() && there.is_nan(), "{here} {there}");
            }
        }
        let [before, after] = &here;
        assert_eq!((before.len(), after.len()), (2, 2));
        let counts = [0, 1].map(|at| (before[at].stats.non_finite, before[at].stats.zero));
        assert_eq!(counts, [(0, 2), (1, 0)]);
        let [before, after] = [before, after].map(|stats| stats[0].stats.tensor_norm);
        assert_eq!(after, 0.5 * before);
    }
}
