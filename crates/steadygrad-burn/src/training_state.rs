//! Weights and optimizer of one moment: in memory, and to the bit in a snapshot on the disk.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, DType, Int, Tensor, TensorData};
use serde_json::json;
use steadygrad_record::{Dtype, Snapshot, Tensor as Saved};

/// The optimizer's state among a snapshot's tensors.
const OPTIMIZER: &str = "optimizer";
/// The parameters' identities among a snapshot's values: the optimizer's state is kept by them.
const IDENTITIES: &str = "parameter_ids";

/// Why a snapshot cannot be restored into a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot lacks something.
    #[error("the snapshot has no `{name}`; it was taken of another model")]
    Missing {
        /// Its name in the snapshot.
        name: String,
    },
    /// A tensor does not fit the model's parameter.
    #[error(
        "`{name}` is {found:?} in the snapshot and {expected:?} in the model; build the model that the run was started with"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// In the snapshot.
        found: Vec<usize>,
        /// In the model.
        expected: Vec<usize>,
    },
    /// Burn has a number type that a snapshot has not.
    #[error(
        "`{name}` holds {dtype:?}, which a snapshot cannot; use a float, integer or boolean type"
    )]
    Type {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: DType,
    },
    /// A value does not read back.
    #[error("`{name}` in the snapshot cannot be read: {reason}; it was written by another version")]
    Value {
        /// Its name in the snapshot.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Burn cannot write or read the optimizer's state.
    #[error("the optimizer's state cannot be carried over: {reason}")]
    Optimizer {
        /// Burn's answer.
        reason: String,
    },
}

/// Weights and optimizer of one moment. A clone shares their memory until training goes on, which
/// then writes into memory of its own: one copy of what changes.
#[derive(Clone)]
pub struct TrainingState<M> {
    /// The model.
    pub model: M,
    /// Its optimizer.
    pub optimizer: ModuleOptimizer,
}

impl<M: Module> TrainingState<M> {
    /// Adds everything to a snapshot, under names that begin with `prefix`.
    ///
    /// # Errors
    /// [`RestoreError::Type`] and [`RestoreError::Optimizer`].
    pub fn save(&self, prefix: &str, snapshot: &mut Snapshot) -> Result<(), RestoreError> {
        let mut visitor = Save {
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
        snapshot.tensors.push(Saved {
            name: format!("{prefix}{OPTIMIZER}"),
            dtype: Dtype::U8,
            shape: vec![bytes.len()],
            bytes: bytes.to_vec(),
        });
        // As text: JSON's numbers are floats to many readers.
        let identities: Vec<String> = identities.iter().map(u64::to_string).collect();
        let key = format!("{prefix}{IDENTITIES}");
        snapshot.state.insert(key, json!(identities));
        Ok(())
    }

    /// The state that was saved under `prefix`, put into `self`: a model of the same build and an
    /// optimizer of the same settings. The parameters take the identities that they had.
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
        let mut mapper = Restore {
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

struct Save<'a> {
    path: Vec<String>,
    prefix: &'a str,
    tensors: &'a mut Vec<Saved>,
    identities: Vec<u64>,
    error: Option<RestoreError>,
}

impl Save<'_> {
    fn push(&mut self, id: ParamId, data: TensorData) {
        let name = format!("{}{}", self.prefix, self.path.join("."));
        self.identities.push(id.val());
        match dtype(data.dtype()) {
            Some(dtype) => self.tensors.push(Saved {
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

impl ModuleVisitor for Save<'_> {
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

struct Restore<'a> {
    path: Vec<String>,
    tensors: HashMap<&'a str, &'a Saved>,
    identities: std::vec::IntoIter<u64>,
    error: Option<RestoreError>,
}

impl Restore<'_> {
    /// What belongs into the parameter that is here; `None` after an error.
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

impl ModuleMapper for Restore<'_> {
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

/// A snapshot's name of Burn's type; `None` for quantised ones.
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
