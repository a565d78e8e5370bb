//! Running means of the squared gradient of every parameter, as Adam keeps them. Those inside an
//! optimizer are out of reach.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::parameters::read;

/// The means in f32, with the number of gradients in each.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) beta2: f64,
    steps: HashMap<ParamId, i32>,
    values: GradientsParams,
}

/// The saved mean of one parameter.
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

impl Moments {
    /// The mean of one parameter; `None` before its first gradient.
    pub(crate) fn get<const D: usize>(&self, id: ParamId) -> Option<Tensor<D>> {
        self.values.get::<D>(id)
    }

    /// The mean of one parameter, corrected for its start from zero: `v / (1 - beta2^t)`.
    pub(crate) fn corrected<const D: usize>(&self, id: ParamId) -> Option<Tensor<D>> {
        let step = *self.steps.get(&id)?;
        Some(self.get::<D>(id)? * (1.0 / (1.0 - self.beta2.powi(step))))
    }

    /// Updates `v <- beta2 v + (1 - beta2) g^2` where g is finite. Elsewhere v stays as it is.
    pub(crate) fn push<M: Module>(&mut self, module: &M, gradients: &GradientsParams) {
        struct Pusher<'a> {
            gradients: &'a GradientsParams,
            moments: &'a mut Moments,
            seen: HashSet<ParamId>,
        }
        impl ModuleVisitor for Pusher<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let Some(gradient) = self.gradients.get::<D>(param.id) else {
                    return;
                };
                // A parameter that the module holds in two places has one gradient.
                if !self.seen.insert(param.id) {
                    return;
                }
                let Moments {
                    beta2,
                    steps,
                    values,
                } = &mut *self.moments;
                let gradient = gradient.cast(FloatDType::F32);
                let old = values.remove::<D>(param.id);
                let old = old.unwrap_or_else(|| gradient.zeros_like());
                let broken = gradient.clone().is_finite().bool_not();
                let new = old.clone() * *beta2 + gradient.powi_scalar(2) * (1.0 - *beta2);
                values.register(param.id, new.mask_where(broken, old));
                *steps.entry(param.id).or_default() += 1;
            }
        }
        module.visit(&mut Pusher {
            gradients,
            moments: self,
            seen: HashSet::new(),
        });
    }

    /// Saves the means, one entry a parameter, in module order.
    pub(crate) fn save<M: Module>(&self, module: &M) -> Vec<SavedMoment> {
        struct Saver<'a>(&'a Moments, Vec<SavedMoment>);
        impl ModuleVisitor for Saver<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.1.push(SavedMoment {
                    step: self.0.steps.get(&param.id).copied().unwrap_or_default(),
                    values: self.0.get::<D>(param.id).map(read).unwrap_or_default(),
                });
            }
        }
        let mut saver = Saver(self, Vec::new());
        module.visit(&mut saver);
        saver.1
    }

    /// Replaces the means by saved ones. An entry of another length than its parameter is left out.
    pub(crate) fn load<M: Module>(&mut self, module: &M, saved: Vec<SavedMoment>) {
        struct Loader<'a>(std::vec::IntoIter<SavedMoment>, &'a mut Moments);
        impl ModuleVisitor for Loader<'_> {
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
        module.visit(&mut Loader(saved.into_iter(), self));
    }
}
