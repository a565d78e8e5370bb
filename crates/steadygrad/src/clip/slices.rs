use std::convert::Infallible;

use super::apply::{clamp, clamp_to_second_moment, scale_units};
use super::{ClipReading, Gradients, Needs, TensorReading, UnitNorms};
use crate::Decision;
use crate::stats::{
    SecondMoment, Units, Values, ValuesMut, beyond_second_moment, headroom, unit_norms, update_rms,
};
use crate::workers::Workers;

/// One parameter's values on the CPU, each list in the same order. Lists that the policy does not
/// [need](super::Needs) may be left out.
#[derive(Debug)]
pub struct ParameterSlices<'a> {
    /// The gradient, which gradient policies change.
    pub gradient: ValuesMut<'a>,
    /// The output units of the gradient.
    pub units: Units,
    /// The weights before the step.
    pub weight: Option<Values<'a>>,
    /// The optimizer's running mean of the squared gradient.
    pub second_moment: Option<SecondMoment<'a>>,
    /// The change that the optimizer makes, which update policies change.
    pub update: Option<ValuesMut<'a>>,
}

impl<'a> ParameterSlices<'a> {
    /// Takes a gradient alone, as one unit.
    pub fn new(gradient: impl Into<ValuesMut<'a>>) -> Self {
        Self {
            gradient: gradient.into(),
            units: Units::One,
            weight: None,
            second_moment: None,
            update: None,
        }
    }
}

/// Gradients that lie in the CPU's memory, measured and changed in place without a copy.
#[derive(Debug)]
pub struct SliceGradients<'a, 'w> {
    /// The parameters, in the same order at every step.
    pub parameters: Vec<ParameterSlices<'a>>,
    /// The threads that do the work.
    pub workers: &'w Workers,
}

impl SliceGradients<'_, '_> {
    fn targets(&mut self) -> impl Iterator<Item = ValuesMut<'_>> {
        self.parameters
            .iter_mut()
            .map(|parameter| match &mut parameter.update {
                Some(update) => update.reborrow(),
                None => parameter.gradient.reborrow(),
            })
    }
}

/// Where a parameter has an `update`, a policy changes the update and not the gradient.
impl Gradients for SliceGradients<'_, '_> {
    type Error = Infallible;

    fn read(&mut self, needs: Needs) -> Result<ClipReading, Infallible> {
        let gradients: Vec<Values<'_>> = self
            .parameters
            .iter()
            .map(|parameter| parameter.gradient.as_values())
            .collect();
        let stats = self.workers.measure(&gradients);
        let tensors = self.parameters.iter().zip(stats).map(|(parameter, stats)| {
            let mut reading = TensorReading::from(stats);
            parameter.read(needs, &mut reading);
            reading
        });
        Ok(ClipReading {
            tensors: tensors.collect(),
        })
    }

    fn apply(&mut self, decision: &Decision) -> Result<(), Infallible> {
        let workers = self.workers;
        match decision {
            Decision::Keep
            | Decision::Skip { .. }
            | Decision::LowerLearningRate { .. }
            | Decision::Rollback { .. }
            | Decision::Stop { .. } => {}
            Decision::Clamp { max_abs } => {
                self.targets().for_each(|values| clamp(values, *max_abs))
            }
            Decision::ScaleGlobal { coefficient } => {
                workers.scale(self.targets().map(|values| (values, *coefficient)));
            }
            Decision::ScalePerTensor { coefficients } => {
                workers.scale(self.targets().zip(coefficients.iter().copied()));
            }
            Decision::ScalePerUnit { coefficients } => {
                for (parameter, coefficients) in self.parameters.iter_mut().zip(coefficients) {
                    scale_units(parameter.gradient.reborrow(), parameter.units, coefficients);
                }
            }
            Decision::ClampToSecondMoment { ratio } => {
                for parameter in &mut self.parameters {
                    if let Some(moment) = parameter.second_moment {
                        clamp_to_second_moment(parameter.gradient.reborrow(), moment, *ratio);
                    }
                }
            }
        }
        Ok(())
    }
}

impl ParameterSlices<'_> {
    fn read(&self, needs: Needs, reading: &mut TensorReading) {
        let gradient = self.gradient.as_values();
        match needs {
            Needs::Stats => {}
            Needs::UnitNorms => {
                if let Some(weight) = self.weight {
                    let norms = unit_norms(gradient, self.units);
                    reading.units = norms
                        .into_iter()
                        .zip(unit_norms(weight, self.units))
                        .map(|(gradient, weight)| UnitNorms { gradient, weight })
                        .collect();
                }
            }
            Needs::SecondMoment { ratio } => {
                reading.beyond_second_moment = self
                    .second_moment
                    .map(|moment| beyond_second_moment(gradient, moment, ratio));
            }
            Needs::UpdateRms { eps } => {
                reading.update_rms = self
                    .second_moment
                    .map(|moment| update_rms(gradient, moment, eps));
            }
            Needs::Headroom {
                relative,
                accumulator,
                absolute,
            } => {
                if let (Some(update), Some(weight)) = (&self.update, self.weight) {
                    let terms = (relative, accumulator, absolute);
                    let update = update.as_values();
                    reading.headroom = Some(headroom(update, weight, self.second_moment, terms));
                }
            }
        }
    }
}
