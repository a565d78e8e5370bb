//! A module's trainable parameters as one list of numbers, and back, without rounding.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};

/// All trainable parameters, in module order.
pub(crate) fn weights<M: Module>(model: &M) -> Vec<f64> {
    struct Visitor(Vec<f64>);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if tensor.is_require_grad() {
                self.0.extend_from_slice(&values(tensor.inner()));
            }
        }
    }
    let mut visitor = Visitor(Vec::with_capacity(model.num_params()));
    model.visit(&mut visitor);
    visitor.0
}

/// The gradients of all trainable parameters, in module order. They are zero for a parameter
/// without a gradient: the loss does not depend on it.
pub(crate) fn gradient<M: Module>(model: &M, gradients: &GradientsParams) -> Vec<f64> {
    gradient_into(Vec::with_capacity(model.num_params()), model, gradients)
}

/// [`gradient`] in the memory of `all`, whose content is overwritten.
pub(crate) fn gradient_into<M: Module>(
    mut all: Vec<f64>,
    model: &M,
    gradients: &GradientsParams,
) -> Vec<f64> {
    all.clear();
    struct Visitor<'a> {
        gradients: &'a GradientsParams,
        all: Vec<f64>,
    }
    impl ModuleVisitor for Visitor<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if !tensor.is_require_grad() {
                return;
            }
            match self.gradients.get::<D>(param.id) {
                Some(gradient) => self.all.extend_from_slice(&values(gradient)),
                None => {
                    let count = tensor.shape().num_elements();
                    self.all.extend(std::iter::repeat_n(0.0, count));
                }
            }
        }
    }
    let mut visitor = Visitor { gradients, all };
    model.visit(&mut visitor);
    visitor.all
}

/// The model with these trainable parameters, rounded to its types. Parameters beyond the end of
/// the list keep their values.
pub(crate) fn with_weights<M: Module>(model: M, weights: &[f64]) -> M {
    model.map(&mut Mapper {
        left: Some(weights),
        dtype: None,
    })
}

/// The model with its trainable parameters in f64.
pub(crate) fn in_f64<M: Module>(model: M) -> M {
    model.map(&mut Mapper {
        left: None,
        dtype: Some(DType::F64),
    })
}

struct Mapper<'a> {
    /// `None`: each parameter keeps its values.
    left: Option<&'a [f64]>,
    /// `None`: each parameter keeps its type.
    dtype: Option<DType>,
}

impl ModuleMapper for Mapper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            if !tensor.is_require_grad() {
                return tensor;
            }
            let (shape, device) = (tensor.dims(), tensor.device().inner());
            let dtype = self.dtype.unwrap_or(tensor.dtype());
            let count = tensor.shape().num_elements();
            let changed: Vec<f64> = match &mut self.left {
                Some(left) => {
                    let Some((now, rest)) = left.split_at_checked(count) else {
                        return tensor;
                    };
                    *left = rest;
                    now.to_vec()
                }
                None => values(tensor.inner()),
            };
            let data = TensorData::new(changed, shape);
            Tensor::from_inner(Tensor::<D>::from_data(data, (&device, dtype))).require_grad()
        })
    }
}

/// The smallest relative difference that all of the model's trainable parameters can represent:
/// that of f64 if all are f64, else that of f32.
pub(crate) fn resolution<M: Module>(model: &M) -> f64 {
    struct Visitor(bool);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= param.val().dtype() == DType::F64 || !param.val().is_require_grad();
        }
    }
    let mut all_f64 = Visitor(true);
    model.visit(&mut all_f64);
    if all_f64.0 {
        f64::EPSILON
    } else {
        f64::from(f32::EPSILON)
    }
}

/// All values of a tensor, in f64.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data();
    data.try_into_vec_as::<f64>()
        .expect("a float tensor converts to f64")
}

/// L2 norm in f64.
pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn f64_keeps_a_difference_that_f32_rounds_away() {
        let device = Device::flex().autodiff();
        let single = LinearConfig::new(3, 2).init(&device);
        let before = weights(&single);
        assert_eq!(before.len(), 8);
        let moved: Vec<f64> = before.iter().map(|value| value * (1.0 + 1e-12)).collect();
        let double = with_weights(in_f64(single.clone()), &moved);
        assert_eq!(weights(&double), moved);
        assert_eq!(resolution(&double), f64::EPSILON);
        let rounded = with_weights(single.clone(), &moved);
        assert_eq!(weights(&rounded), before);
        assert_eq!(resolution(&rounded), f64::from(f32::EPSILON));
    }

    #[test]
    fn the_gradient_follows_the_order_and_type_of_the_weights() {
        let device = Device::flex().autodiff();
        let model = in_f64(LinearConfig::new(2, 1).init(&device));
        let values = vec![1.0f64, 1.0 + 1e-12];
        let input = Tensor::<2>::from_data(TensorData::new(values, [1, 2]), (&device, DType::F64));
        let loss = model.forward(input).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        assert_eq!(gradient(&model, &gradients), [1.0, 1.0 + 1e-12, 1.0]);
        assert_eq!(gradient(&model, &GradientsParams::new()), [0.0; 3]);
    }
}
