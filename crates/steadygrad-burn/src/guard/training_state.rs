//! A training state is saved to a snapshot and restored from it bit for bit.

use std::collections::HashMap;
use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, DType, Int, Tensor, TensorData};
use serde_json::json;
use steadygrad_record::{Dtype, Snapshot, Tensor as SavedTensor};

use super::restore_error::RestoreError;

/// Name of the optimizer's state among a snapshot's tensors.
const OPTIMIZER: &str = "optimizer";
/// Name of the parameters' identities among a snapshot's values. The optimizer's state refers to
/// parameters by their identities.
const IDENTITIES: &str = "parameter_ids";

/// Weights and optimizer at one moment.
///
/// A clone shares their memory. Once training goes on, it writes into new memory, so a clone costs
/// one copy of what changes.
#[derive(Clone)]
pub struct TrainingState<M> {
    /// The model.
    pub model: M,
    /// Its optimizer.
    pub optimizer: ModuleOptimizer,
}

impl<M: Module> TrainingState<M> {
    /// Adds the state to a snapshot, under names that begin with `prefix`. NaN and infinity are
    /// saved like any value.
    ///
    /// # Errors
    /// [`RestoreError::Type`] and [`RestoreError::Optimizer`].
    pub fn save(&self, prefix: &str, snapshot: &mut Snapshot) -> Result<(), RestoreError> {
        let mut visitor = Saver {
            path: Vec::new(),
            prefix,
            tensors: &mut snapshot.tensors,
            identities: Vec::new(),
            error: None,
        };
        self.model.visit(&mut visitor);
        let (identities, error) = (visitor.identities, visitor.error);
        if let Some(error) = error {
            return Err(error);
        }
        let bytes = self
            .optimizer
            .into_bytes()
            .map_err(|error| RestoreError::Optimizer {
                reason: error.to_string(),
            })?;
        snapshot.tensors.push(SavedTensor {
            name: format!("{prefix}{OPTIMIZER}"),
            dtype: Dtype::U8,
            shape: vec![bytes.len()],
            bytes: bytes.to_vec(),
        });
        // As text: many JSON readers turn numbers into floats, which lose digits.
        let identities: Vec<String> = identities.iter().map(u64::to_string).collect();
        let key = format!("{prefix}{IDENTITIES}");
        snapshot.state.insert(key, json!(identities));
        Ok(())
    }

    /// Returns `self` with the values that were saved under `prefix`.
    ///
    /// `self` needs a model with the same layers and an optimizer with the same settings. The
    /// parameters get the identities that they had.
    ///
    /// # Errors
    /// [`RestoreError::Missing`], [`RestoreError::Shape`] and [`RestoreError::Optimizer`].
    pub fn restore(self, prefix: &str, snapshot: &Snapshot) -> Result<Self, RestoreError> {
        let missing = |name: &str| RestoreError::Missing {
            name: format!("{prefix}{name}"),
        };
        let identities: Vec<String> = snapshot
            .state
            .get(&format!("{prefix}{IDENTITIES}"))
            .and_then(|value| serde_json::from_value(value.clone()).ok())
            .ok_or_else(|| missing(IDENTITIES))?;
        let identities: Option<Vec<u64>> = identities.iter().map(|id| id.parse().ok()).collect();
        let tensors = snapshot.tensors.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(prefix)?;
            Some((name, tensor))
        });
        let mut mapper = Restorer {
            path: Vec::new(),
            tensors: tensors.collect(),
            identities: identities.ok_or_else(|| missing(IDENTITIES))?.into_iter(),
            error: None,
        };
        let model = self.model.map(&mut mapper);
        let optimizer = mapper.tensors.get(OPTIMIZER).copied();
        if let Some(error) = mapper.error {
            return Err(error);
        }
        let optimizer = optimizer.ok_or_else(|| missing(OPTIMIZER))?;
        let bytes = Bytes::from_bytes_vec(optimizer.bytes.clone());
        let optimizer =
            self.optimizer
                .from_bytes(bytes)
                .map_err(|error| RestoreError::Optimizer {
                    reason: error.to_string(),
                })?;
        Ok(Self { model, optimizer })
    }
}

// Not derived: Burn's optimizer has no `Debug`.
impl<M: fmt::Debug> fmt::Debug for TrainingState<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingState")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

struct Saver<'a> {
    path: Vec<String>,
    prefix: &'a str,
    tensors: &'a mut Vec<SavedTensor>,
    identities: Vec<u64>,
    error: Option<RestoreError>,
}

impl Saver<'_> {
    fn push(&mut self, id: ParamId, data: TensorData) {
        let name = format!("{}{}", self.prefix, self.path.join("."));
        self.identities.push(id.val());
        match dtype(data.dtype()) {
            Some(dtype) => self.tensors.push(SavedTensor {
                name,
                dtype,
                shape: data.shape().to_vec(),
                bytes: data.as_bytes().to_vec(),
            }),
            None => {
                self.error.get_or_insert(RestoreError::Type {
                    name,
                    dtype: data.dtype(),
                });
            }
        }
    }
}

impl ModuleVisitor for Saver<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.push(param.id, param.val().inner().into_data());
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.push(param.id, param.val().into_data());
    }
}

struct Restorer<'a> {
    path: Vec<String>,
    tensors: HashMap<&'a str, &'a SavedTensor>,
    identities: std::vec::IntoIter<u64>,
    error: Option<RestoreError>,
}

impl Restorer<'_> {
    /// Identity and values for the current parameter; `None` after an error.
    fn take(&mut self, expected: &[usize]) -> Option<(ParamId, TensorData)> {
        let name = self.path.join(".");
        let found = self.tensors.get(name.as_str()).copied();
        let found = found.zip(self.identities.next());
        let Some((saved, id)) = found else {
            self.error.get_or_insert(RestoreError::Missing { name });
            return None;
        };
        if saved.shape != expected {
            self.error.get_or_insert(RestoreError::Shape {
                name,
                found: saved.shape.clone(),
                expected: expected.to_vec(),
            });
            return None;
        }
        let bytes = Bytes::from_bytes_vec(saved.bytes.clone());
        let data = TensorData::from_bytes(bytes, saved.shape.clone(), burn_dtype(saved.dtype));
        Some((ParamId::from(id), data))
    }
}

impl ModuleMapper for Restorer<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (old, tensor, mapper) = param.consume();
        let Some((id, data)) = self.take(&tensor.dims()) else {
            return Param::from_mapped_value(old, tensor, mapper);
        };
        let dtype = data.dtype();
        let device = tensor.device().inner();
        let restored = Tensor::<D>::from_data(data, (&device, dtype));
        let restored = Tensor::from_inner(restored).set_require_grad(tensor.is_require_grad());
        Param::from_mapped_value(id, restored, mapper)
    }
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let (old, tensor, mapper) = param.consume();
        let Some((id, data)) = self.take(&tensor.dims()) else {
            return Param::from_mapped_value(old, tensor, mapper);
        };
        let dtype = data.dtype();
        let restored = Tensor::<D, Int>::from_data(data, (&tensor.device(), dtype));
        Param::from_mapped_value(id, restored, mapper)
    }
}

/// The snapshot's number type for one of Burn's; `None` for quantised ones.
fn dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 | DType::Flex32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::Bf16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        _ => return None,
    })
}

fn burn_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 | Dtype::Bool => DType::U8,
    }
}
