use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// Name, identity and shape of one trainable float parameter of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter {
    /// Dotted path of the fields that lead to the parameter, for example `hidden.3.weight`.
    pub name: String,
    /// Burn's identity of the parameter, which survives cloning and training.
    pub id: ParamId,
    /// The parameter's shape.
    pub shape: Vec<usize>,
}

/// Calls `visit` with every trainable float parameter and its values, in module order.
///
/// Each parameter is read from its device, as f32.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
///
/// let model: Linear = LinearConfig::new(3, 2).init(&Device::flex().autodiff());
/// let mut sizes = Vec::new();
/// steadygrad_burn::for_each_parameter(&model, |parameter, values| {
///     sizes.push((parameter.name, values.len()));
/// });
/// assert_eq!(sizes, [("weight".to_owned(), 6), ("bias".to_owned(), 2)]);
/// ```
pub fn for_each_parameter<M: Module>(module: &M, visit: impl FnMut(Parameter, &[f32])) {
    struct Visitor<F> {
        path: Vec<String>,
        visit: F,
    }
    impl<F: FnMut(Parameter, &[f32])> ModuleVisitor for Visitor<F> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if tensor.is_require_grad() {
                let parameter = Parameter {
                    name: self.path.join("."),
                    id: param.id,
                    shape: tensor.dims().to_vec(),
                };
                (self.visit)(parameter, &read(tensor));
            }
        }
    }
    module.visit(&mut Visitor {
        path: Vec::new(),
        visit,
    });
}

/// Lets `change` edit the values of every trainable float parameter, in module order.
///
/// `change` gets the dotted path, the shape and the values as f32. Where it returns `false`, the
/// parameter stays as it is. A changed parameter is f32, whatever it was before.
pub fn map_parameters<M: Module>(
    module: M,
    change: impl FnMut(&str, &[usize], &mut [f32]) -> bool,
) -> M {
    struct Mapper<F> {
        path: Vec<String>,
        change: F,
    }
    impl<F: FnMut(&str, &[usize], &mut [f32]) -> bool> ModuleMapper for Mapper<F> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                if !tensor.is_require_grad() {
                    return tensor;
                }
                let shape = tensor.dims();
                let mut values = read(tensor.clone());
                if !(self.change)(&self.path.join("."), &shape, &mut values) {
                    return tensor;
                }
                let device = tensor.device().inner();
                let changed = Tensor::<D>::from_data(TensorData::new(values, shape), &device);
                Tensor::from_inner(changed).require_grad()
            })
        }
    }
    module.map(&mut Mapper {
        path: Vec::new(),
        change,
    })
}

/// Reads the tensor's values as f32, whatever its type and device.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.inner().into_data();
    data.try_into_vec_as::<f32>()
        .expect("a float tensor converts to f32")
}
