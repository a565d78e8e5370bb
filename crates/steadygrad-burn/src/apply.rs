//! Acting on a decision, tensor by tensor, on the tensors' own device.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use steadygrad::stats::Units;
use steadygrad::{Decision, Workers};

use crate::device::beyond_mask;
use crate::host::HostTensor;
use crate::measure::Path;

/// Changes the tensors in `target` as decided; those of exempt parameters stay.
pub(crate) fn apply<M: Module>(
    module: &M,
    target: &mut GradientsParams,
    decision: &Decision,
    moments: Option<(&GradientsParams, f64)>,
    exempt: &[String],
    workers: &Workers,
) {
    if matches!(decision, Decision::Keep | Decision::Stop { .. }) {
        return;
    }
    module.visit(&mut Visitor {
        path: Path::default(),
        index: 0,
        target,
        decision,
        moments,
        exempt,
        workers,
    });
}

struct Visitor<'a> {
    path: Path,
    /// Of the next tensor, in the order in which they were measured.
    index: usize,
    target: &'a mut GradientsParams,
    decision: &'a Decision,
    moments: Option<(&'a GradientsParams, f64)>,
    exempt: &'a [String],
    workers: &'a Workers,
}

impl ModuleVisitor for Visitor<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.exempt.contains(&self.path.dotted()) {
            return;
        }
        let Some(tensor) = self.target.remove::<D>(param.id) else {
            return;
        };
        let moment = self
            .moments
            .and_then(|(moments, factor)| Some(moments.get::<D>(param.id)? * factor));
        let changed = self.change(tensor, moment);
        self.target.register(param.id, changed);
        self.index += 1;
    }
}

impl Visitor<'_> {
    fn change<const D: usize>(&self, tensor: Tensor<D>, moment: Option<Tensor<D>>) -> Tensor<D> {
        match self.decision {
            Decision::Keep | Decision::Stop { .. } => tensor,
            Decision::Clamp { max_abs } => {
                // By masks, which leave NaN what it is on every backend.
                let above = tensor.clone().greater_scalar(*max_abs);
                let below = tensor.clone().lower_scalar(-max_abs);
                tensor.mask_fill(above, *max_abs).mask_fill(below, -max_abs)
            }
            Decision::ScaleGlobal { coefficient } => scale(tensor, *coefficient, self.workers),
            Decision::ScalePerTensor { coefficients } => {
                let coefficient = coefficients.get(self.index).copied().unwrap_or(1.0);
                scale(tensor, coefficient, self.workers)
            }
            Decision::ScalePerUnit { coefficients } => match coefficients.get(self.index) {
                Some(coefficients) if !coefficients.is_empty() => {
                    let units = self.path.units(&tensor.dims());
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
        }
    }
}

/// Multiplies a tensor, in place where it lies in this machine's memory.
pub(crate) fn scale<const D: usize>(
    tensor: Tensor<D>,
    coefficient: f64,
    workers: &Workers,
) -> Tensor<D> {
    if coefficient == 1.0 {
        return tensor;
    }
    match HostTensor::new(tensor) {
        Ok(mut host) => {
            if let Some(values) = host.values_mut() {
                workers.scale([(values, coefficient)]);
            }
            host.into_tensor()
        }
        Err(tensor) => tensor.mul_scalar(coefficient),
    }
}

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
