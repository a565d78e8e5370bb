//! Acts on a decision: changes gradients or updates, tensor by tensor, on the tensors' own device.

use std::iter::Peekable;
use std::vec::IntoIter;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use steadygrad::stats::Units;
use steadygrad::{Decision, Workers};

use crate::measure::{HostTensor, Moments, Walk, beyond_mask, weights};

/// Changes the tensors in `target` as decided. The tensors of exempt parameters stay as they are.
pub(crate) fn apply<M: Module>(
    module: &M,
    target: &mut GradientsParams,
    decision: &Decision,
    moments: Option<&Moments>,
    exempt: &[String],
    workers: &Workers,
) {
    if !decision.applies() || *decision == Decision::Keep {
        return;
    }
    let mut visitor = Applier {
        walk: Walk::new(exempt),
        index: 0,
        target,
        decision,
        moments,
        hosts: Vec::new(),
    };
    module.visit(&mut visitor);
    let mut hosts = visitor.hosts;
    let values = hosts
        .iter_mut()
        .filter_map(|(_, host, coefficient)| Some((host.values_mut()?, *coefficient)));
    workers.scale(values);
    module.visit(&mut HostRegistrar {
        hosts: hosts.into_iter().peekable(),
        target,
    });
}

/// The model a share of the way from `before` to `after`: each parameter is
/// `before + share (after - before)`.
pub(crate) fn shorten_update<M: Module>(before: &M, after: M, share: f64) -> M {
    struct Shortener {
        before: GradientsParams,
        share: f64,
    }
    impl ModuleMapper for Shortener {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(before) = self.before.remove::<D>(param.id) else {
                return param;
            };
            let share = self.share;
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
    let before = weights(before);
    after.map(&mut Shortener { before, share })
}

struct Applier<'a> {
    walk: Walk<'a>,
    /// Index of the next tensor, in the order of the measurements.
    index: usize,
    target: &'a mut GradientsParams,
    decision: &'a Decision,
    moments: Option<&'a Moments>,
    /// CPU tensors with their factors, which `workers` scale together at the end.
    hosts: Vec<(ParamId, HostTensor, f64)>,
}

impl ModuleVisitor for Applier<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.walk.enter(name, container_type);
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.walk.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.walk.arrive(param.id).is_none() {
            return;
        }
        if let Some(tensor) = self.target.remove::<D>(param.id) {
            let moment = self.moments.and_then(|moments| moments.get::<D>(param.id));
            if let Some(changed) = self.change(param.id, tensor, moment) {
                self.target.register(param.id, changed);
            }
        }
        // A parameter without a tensor has its place among the measurements, too.
        self.index += 1;
    }
}

impl Applier<'_> {
    /// The tensor as decided; `None` if it now waits in `hosts`.
    fn change<const D: usize>(
        &mut self,
        id: ParamId,
        tensor: Tensor<D>,
        moment: Option<Tensor<D>>,
    ) -> Option<Tensor<D>> {
        let changed = match self.decision {
            Decision::Keep
            | Decision::Skip { .. }
            | Decision::LowerLearningRate { .. }
            | Decision::Rollback { .. }
            | Decision::Stop { .. } => tensor,
            Decision::Clamp { max_abs } => {
                // By masks, which leave NaN as it is on every backend.
                let above = tensor.clone().greater_scalar(*max_abs);
                let below = tensor.clone().lower_scalar(-max_abs);
                tensor.mask_fill(above, *max_abs).mask_fill(below, -max_abs)
            }
            Decision::ScaleGlobal { coefficient } => return self.scale(id, tensor, *coefficient),
            Decision::ScalePerTensor { coefficients } => {
                let coefficient = coefficients.get(self.index).copied().unwrap_or(1.0);
                return self.scale(id, tensor, coefficient);
            }
            Decision::ScalePerUnit { coefficients } => match coefficients.get(self.index) {
                Some(coefficients) if !coefficients.is_empty() => {
                    let units = self.walk.units(&tensor.dims());
                    scale_units(tensor, units, coefficients)
                }
                _ => tensor,
            },
            Decision::ClampToSecondMoment { ratio } => match moment {
                Some(moment) => {
                    let (beyond, limit) = beyond_mask(tensor.clone(), moment, *ratio);
                    let bounded = tensor.clone().sign() * limit.cast(tensor.dtype());
                    tensor.mask_where(beyond, bounded)
                }
                None => tensor,
            },
        };
        Some(changed)
    }

    fn scale<const D: usize>(
        &mut self,
        id: ParamId,
        tensor: Tensor<D>,
        coefficient: f64,
    ) -> Option<Tensor<D>> {
        if coefficient == 1.0 {
            return Some(tensor);
        }
        match HostTensor::new(&tensor) {
            Some(host) => {
                self.hosts.push((id, host, coefficient));
                None
            }
            None => Some(tensor.mul_scalar(coefficient)),
        }
    }
}

/// Registers the CPU tensors again after they were scaled in place.
struct HostRegistrar<'a> {
    hosts: Peekable<IntoIter<(ParamId, HostTensor, f64)>>,
    target: &'a mut GradientsParams,
}

impl ModuleVisitor for HostRegistrar<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some((id, host, _)) = self.hosts.next_if(|(id, ..)| *id == param.id) {
            self.target.register(id, host.into_tensor::<D>());
        }
    }
}

/// Multiplies each output unit by its coefficient.
fn scale_units<const D: usize>(tensor: Tensor<D>, units: Units, coefficients: &[f64]) -> Tensor<D> {
    let dims = tensor.dims();
    let len = tensor.shape().num_elements();
    let (matrix, factors) = match units {
        Units::One => ([1, len], [1, 1]),
        Units::Rows(rows) => ([rows, len / rows], [rows, 1]),
        Units::Columns(columns) => ([len / columns, columns], [1, columns]),
    };
    let data = TensorData::new(coefficients.to_vec(), factors).convert_dtype(tensor.dtype());
    let factors = Tensor::<2>::from_data(data, &tensor.device());
    (tensor.reshape(matrix) * factors).reshape(dims)
}
