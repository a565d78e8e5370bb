//! A running mean of the squared gradient of every parameter, as Adam keeps: an optimizer's own is
//! out of reach.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use steadygrad::clip::Policy;

use crate::parameters::read;

/// The moments in f32, with the number of gradients that each has seen.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) beta2: f64,
    steps: HashMap<ParamId, i32>,
    values: GradientsParams,
}

/// One parameter's saved moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedMoment {
    step: i32,
    values: Vec<f32>,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            beta2: 0.999,
            steps: HashMap::new(),
            values: GradientsParams::new(),
        }
    }
}

/// Whether a policy, or one in its chain, looks at second moments.
pub(crate) fn looks_at_moments(policy: &Policy) -> bool {
    policy.looks_at_moments()
}

impl Moments {
    /// A parameter's moment; `None` before its first gradient.
    pub(crate) fn get<const D: usize>(&self, id: ParamId) -> Option<Tensor<D>> {
        self.values.get::<D>(id)
    }

    /// The same, corrected for its start from zero: `v / (1 - beta2^t)`.
    pub(crate) fn corrected<const D: usize>(&self, id: ParamId) -> Option<Tensor<D>> {
        let step = *self.steps.get(&id)?;
        Some(self.get::<D>(id)? * (1.0 / (1.0 - self.beta2.powi(step))))
    }

    /// `v <- beta2 v + (1 - beta2) g^2` where g is finite; elsewhere v stays.
    pub(crate) fn push<M: Module>(&mut self, module: &M, gradients: &GradientsParams) {
        struct Visitor<'a>(&'a GradientsParams, &'a mut Moments, HashSet<ParamId>);
        impl ModuleVisitor for Visitor<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let Some(gradient) = self.0.get::<D>(param.id) else {
                    return;
                };
                // A parameter that the module holds in two places has one gradient.
                if !self.2.insert(param.id) {
                    return;
                }
                let Moments {
                    beta2,
                    steps,
                    values,
                } = &mut *self.1;
                let gradient = gradient.cast(FloatDType::F32);
                let old = values.remove::<D>(param.id);
                let old = old.unwrap_or_else(|| gradient.zeros_like());
                let broken = gradient.clone().is_finite().bool_not();
                let new = old.clone() * *beta2 + gradient.powi_scalar(2) * (1.0 - *beta2);
                values.register(param.id, new.mask_where(broken, old));
                *steps.entry(param.id).or_default() += 1;
            }
        }
        module.visit(&mut Visitor(gradients, self, HashSet::new()));
    }

    /// One entry a parameter, in module order.
    pub(crate) fn save<M: Module>(&self, module: &M) -> Vec<SavedMoment> {
        struct Visitor<'a>(&'a Moments, Vec<SavedMoment>);
        impl ModuleVisitor for Visitor<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.1.push(SavedMoment {
                    step: self.0.steps.get(&param.id).copied().unwrap_or_default(),
                    values: self.0.get::<D>(param.id).map(read).unwrap_or_default(),
                });
            }
        }
        let mut visitor = Visitor(self, Vec::new());
        module.visit(&mut visitor);
        visitor.1
    }

    pub(crate) fn load<M: Module>(&mut self, module: &M, saved: Vec<SavedMoment>) {
        struct Visitor<'a>(std::vec::IntoIter<SavedMoment>, &'a mut Moments);
        impl ModuleVisitor for Visitor<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let weight = param.val().inner();
                let len = weight.shape().num_elements();
                if let Some(saved) = self.0.next().filter(|saved| saved.values.len() == len) {
                    let data = TensorData::new(saved.values, weight.dims());
                    let tensor = Tensor::<D>::from_data(data, &weight.device());
                    self.1.values.register(param.id, tensor);
                    self.1.steps.insert(param.id, saved.step);
                }
            }
        }
        self.values = GradientsParams::new();
        self.steps.clear();
        module.visit(&mut Visitor(saved.into_iter(), self));
    }
}
