//! Applies any clipping policy of the core to PyTorch's gradients.

use pyo3::exceptions::{PyNotImplementedError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use steadygrad::Decision;
use steadygrad::clip::{
    ClipReading, Clipper as Core, Gradients, Needs, ParameterSlices, Policy, SliceGradients,
    Target, TensorReading,
};

use crate::device_reading;
use crate::extras::{Extras, Lists};
use crate::gradients::Collected;
use crate::memory::Views;
use crate::reader::Reader;
use crate::stats::GradientStats;

/// A policy with its running state.
#[pyclass(module = "steadygrad._native")]
pub(crate) struct Clipper(Core);

#[pymethods]
impl Clipper {
    /// Builds a clipper from a policy as JSON, in the format of `steadygrad.clip`.
    #[new]
    fn new(policy: &str) -> PyResult<Self> {
        let policy: Policy = parse(policy)?;
        let core = Core::new(policy).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self(core))
    }

    /// Whether the policy clips the optimizer's update instead of the gradients.
    #[getter]
    fn acts_on_update(&self) -> bool {
        self.0.policy().target() == Target::Update
    }

    /// Returns the lists of [`Extras`] that the policy reads.
    #[getter]
    fn needs(&self) -> Vec<&'static str> {
        let policy = self.0.policy();
        let weights = policy.looks_at_weights().then_some("weights");
        let moments = policy.looks_at_moments().then_some("moments");
        weights.into_iter().chain(moments).collect()
    }

    /// Returns the policy and its state as JSON.
    fn save(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Restores the state that `save` returned.
    fn load(&mut self, saved: &str) -> PyResult<()> {
        let saved: Core = parse(saved)?;
        if saved.policy() != self.0.policy() {
            return Err(PyValueError::new_err(
                "the saved state is of another policy; make the Clipper with the policy that it \
                 was saved with",
            ));
        }
        self.0 = saved;
        Ok(())
    }

    fn clip(
        &mut self,
        py: Python<'_>,
        reader: &Bound<'_, Reader>,
        parameters: &Bound<'_, PyList>,
        names: Py<PyTuple>,
        threads: usize,
        extras: Option<Extras<'_>>,
    ) -> PyResult<GradientStats> {
        let reader = reader.get();
        let (collected, views) = Collected::new(reader, parameters)?;
        let mut adapter = Adapter {
            py,
            reader,
            threads,
            count: parameters.len(),
            collected,
            views: Some(views),
            extras,
        };
        let clipped = self.0.clip(&mut adapter)?;
        let mut had_gradient = vec![false; adapter.count];
        let Collected { read, rest, .. } = &adapter.collected;
        for &place in read.places.iter().chain(&rest.places) {
            had_gradient[place] = true;
        }
        let tensors = clipped.before.tensors.iter().enumerate();
        let rows = tensors
            .filter(|(place, _)| had_gradient[*place])
            .map(|(place, tensor)| (place, tensor.stats))
            .collect();
        Ok(GradientStats::new(names, rows, &clipped.decisions))
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Clips supported tensors natively and leaves the others to PyTorch.
struct Adapter<'a, 'py> {
    py: Python<'py>,
    reader: &'a Reader,
    threads: usize,
    /// The number of parameters. A parameter without a gradient has a reading too.
    count: usize,
    collected: Collected,
    /// Views of the collected gradients. They are valid only until Python code may have run.
    views: Option<Views>,
    extras: Option<Extras<'py>>,
}

impl Adapter<'_, '_> {
    /// Runs `work` on the slices of all natively read parameters.
    fn with_slices<T: Send>(
        &mut self,
        work: impl FnOnce(&mut SliceGradients<'_, '_>) -> T + Send,
    ) -> PyResult<T> {
        let mut views = match self.views.take() {
            Some(views) => views,
            None => self.collected.views(self.py, self.reader)?,
        };
        let values = views.len();
        let threads = &self.reader.threads;
        let Some(extras) = &self.extras else {
            return threads.run(self.py, self.threads, values, |workers| {
                let parameters = views.values_mut().into_iter().map(ParameterSlices::new);
                work(&mut SliceGradients {
                    parameters: parameters.collect(),
                    workers,
                })
            });
        };
        let places = &self.collected.read.places;
        let mut lists = Lists::new(self.reader, &views, places, extras)?;
        threads.run(self.py, self.threads, values, |workers| {
            work(&mut lists.slices(workers))
        })
    }
}

impl Gradients for Adapter<'_, '_> {
    type Error = PyErr;

    fn read(&mut self, needs: Needs) -> PyResult<ClipReading> {
        let rest = &self.collected.rest;
        if needs != Needs::Stats && !rest.tensors.is_empty() {
            return Err(PyNotImplementedError::new_err(format!(
                "this policy needs dense CPU gradients of float32, float64, float16 or bfloat16; {} \
                 of {} are others",
                rest.tensors.len(),
                rest.tensors.len() + self.collected.read.tensors.len(),
            )));
        }
        let read = self.with_slices(|slices| slices.read(needs))?;
        let Ok(read) = read;
        let mut tensors = vec![TensorReading::default(); self.count];
        for (tensor, &place) in read.tensors.into_iter().zip(&self.collected.read.places) {
            tensors[place] = tensor;
        }
        let rest = &self.collected.rest;
        let measured = device_reading::measure(self.py, self.reader, &rest.tensors)?;
        for (stats, &place) in measured.into_iter().zip(&rest.places) {
            tensors[place] = stats.into();
        }
        Ok(ClipReading { tensors })
    }

    fn apply(&mut self, decision: &Decision) -> PyResult<()> {
        if !decision.applies() || *decision == Decision::Keep {
            return Ok(());
        }
        let native = only(decision, &self.collected.read.places);
        let applied = self.with_slices(|slices| slices.apply(&native))?;
        let Ok(()) = applied;
        let Collected { read, rest, .. } = &self.collected;
        self.reader.mark_changed(self.py, &read.tensors)?;
        if rest.tensors.is_empty() {
            return Ok(());
        }
        match decision {
            Decision::ScaleGlobal { coefficient } => {
                self.reader.scale(self.py, &rest.tensors, *coefficient)
            }
            Decision::Clamp { max_abs } => self.reader.clamp(self.py, &rest.tensors, *max_abs),
            Decision::ScalePerTensor { coefficients } => {
                for (tensor, &place) in rest.tensors.iter().zip(&rest.places) {
                    if coefficients[place] != 1.0 {
                        let tensor = std::slice::from_ref(tensor);
                        self.reader.scale(self.py, tensor, coefficients[place])?;
                    }
                }
                Ok(())
            }
            // `read` refuses the readings for these decisions if any tensor is left to PyTorch.
            _ => Ok(()),
        }
    }
}

/// Restricts the decision to the tensors at these places.
fn only(decision: &Decision, places: &[usize]) -> Decision {
    match decision {
        Decision::ScalePerTensor { coefficients } => Decision::ScalePerTensor {
            coefficients: places.iter().map(|&place| coefficients[place]).collect(),
        },
        Decision::ScalePerUnit { coefficients } => Decision::ScalePerUnit {
            coefficients: places
                .iter()
                .map(|&place| coefficients[place].clone())
                .collect(),
        },
        other => other.clone(),
    }
}
