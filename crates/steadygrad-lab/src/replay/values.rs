use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::flat::values;

/// The name and the values of a trainable parameter or of its gradient, in f64.
pub(super) type Named = (String, Vec<f64>);

/// All trainable parameters, in module order.
pub(super) fn weights<M: Module>(model: &M) -> Vec<Named> {
    read(model, None)
}

/// The gradients of the trainable parameters that have one, in module order.
pub(super) fn gradients<M: Module>(model: &M, gradients: &GradientsParams) -> Vec<Named> {
    read(model, Some(gradients))
}

fn read<M: Module>(model: &M, gradients: Option<&GradientsParams>) -> Vec<Named> {
    struct Visitor<'a> {
        path: Vec<String>,
        gradients: Option<&'a GradientsParams>,
        all: Vec<Named>,
    }
    impl ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = match self.gradients {
                Some(gradients) => gradients.get::<D>(param.id),
                None => Some(param.val().inner()).filter(|_| param.val().is_require_grad()),
            };
            if let Some(tensor) = tensor {
                self.all.push((self.path.join("."), values(tensor)));
            }
        }
    }
    let mut visitor = Visitor {
        path: Vec::new(),
        gradients,
        all: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.all
}
