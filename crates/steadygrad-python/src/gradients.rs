//! The gradients of a list of parameters.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use steadygrad::clip::{Gradients as _, ParameterSlices, SliceGradients};
use steadygrad::stats::{TensorStats, global_norm};
use steadygrad::{Decision, Workers};

use crate::memory::{View, Views};
use crate::reader::Reader;

/// Tensors, each with the place of its parameter in the list.
#[derive(Default)]
pub(crate) struct Placed {
    pub(crate) tensors: Vec<Py<PyAny>>,
    pub(crate) places: Vec<usize>,
}

impl Placed {
    fn push(&mut self, place: usize, tensor: Bound<'_, PyAny>) {
        self.tensors.push(tensor.unbind());
        self.places.push(place);
    }

    fn views(&self, py: Python<'_>, reader: &Reader) -> PyResult<Vec<View>> {
        let views = self.tensors.iter().map(|tensor| {
            reader.view(tensor.bind(py))?.ok_or_else(|| {
                PyRuntimeError::new_err("a gradient was replaced while it was being clipped")
            })
        });
        views.collect()
    }
}

/// The gradients that the parameters had.
pub(crate) struct Collected {
    /// The gradients that are read natively.
    pub(crate) read: Placed,
    /// The gradients that PyTorch's own operators measure.
    pub(crate) rest: Placed,
    /// One bit for each type among those read, as in [`crate::memory::Kind`].
    kinds: u8,
}

impl Collected {
    /// Also returns the views of the gradients that are read. Use them before any Python code runs.
    pub(crate) fn new(reader: &Reader, parameters: &Bound<'_, PyList>) -> PyResult<(Self, Views)> {
        let py = parameters.py();
        let mut grads = Vec::with_capacity(parameters.len());
        for (place, parameter) in parameters.iter().enumerate() {
            let grad = parameter.getattr(intern!(py, "grad"))?;
            if !grad.is_none() {
                grads.push((place, grad));
            }
        }
        // Only now, because a parameter of the user's own type may have run Python code.
        let mut views = Vec::with_capacity(grads.len());
        let mut found = Vec::with_capacity(grads.len());
        for (place, grad) in grads {
            let view = reader.view(&grad)?;
            views.extend(view);
            found.push((place, grad, view));
        }
        let (views, taken) = Views::new(views);
        let mut taken = taken.into_iter();
        let (mut read, mut rest, mut kinds) = (Placed::default(), Placed::default(), 0);
        for (place, grad, view) in found {
            match view {
                Some(view) if taken.next() == Some(true) => {
                    kinds |= 1 << view.kind() as u8;
                    read.push(place, grad);
                }
                _ => rest.push(place, grad),
            }
        }
        Ok((Self { read, rest, kinds }, views))
    }

    /// The views again, after Python code may have run.
    pub(crate) fn views(&self, py: Python<'_>, reader: &Reader) -> PyResult<Views> {
        let (views, taken) = Views::new(self.read.views(py, reader)?);
        if taken.into_iter().all(|taken| taken) {
            Ok(views)
        } else {
            Err(PyRuntimeError::new_err(
                "a gradient was moved into another while it was being clipped",
            ))
        }
    }
}

/// The gradients of the parameters, with statistics of those that are read natively.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct Gradients {
    reader: Py<Reader>,
    threads: usize,
    collected: Collected,
    stats: Vec<TensorStats>,
}

#[pymethods]
impl Gradients {
    #[new]
    fn new(
        py: Python<'_>,
        reader: Py<Reader>,
        parameters: &Bound<'_, PyList>,
        threads: usize,
    ) -> PyResult<Self> {
        let (collected, views) = Collected::new(reader.get(), parameters)?;
        let work = |workers: &Workers| workers.measure(&views.values());
        let stats = reader.get().threads.run(py, threads, views.len(), work)?;
        Ok(Self {
            reader,
            threads,
            collected,
            stats,
        })
    }

    #[getter]
    fn rest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.collected.rest.tensors)
    }

    #[getter]
    fn kinds(&self) -> u8 {
        self.collected.kinds
    }

    #[getter]
    fn global_norm(&self) -> f64 {
        global_norm(self.stats.iter().map(|stats| stats.tensor_norm))
    }

    #[getter]
    fn max_norm(&self) -> f64 {
        let mut largest = 0.0;
        for stats in &self.stats {
            if stats.tensor_norm.is_nan() {
                return f64::NAN;
            }
            let infinite = stats.non_finite > 0;
            largest = f64::max(
                largest,
                if infinite {
                    f64::INFINITY
                } else {
                    stats.max_abs
                },
            );
        }
        largest
    }

    fn scale(&self, py: Python<'_>, coefficient: f64) -> PyResult<()> {
        let reader = self.reader.get();
        let mut views = self.collected.views(py, reader)?;
        reader
            .threads
            .run(py, self.threads, views.len(), |workers| {
                let values = views.values_mut().into_iter();
                workers.scale(values.map(|values| (values, coefficient)));
            })?;
        reader.mark_changed(py, &self.collected.read.tensors)
    }
}

/// Clamps the gradients that are read natively, and returns the others.
#[pyfunction]
pub(crate) fn clamp<'py>(
    py: Python<'py>,
    reader: &Bound<'py, Reader>,
    parameters: &Bound<'py, PyList>,
    threads: usize,
    max_abs: f64,
) -> PyResult<Bound<'py, PyList>> {
    let reader = reader.get();
    let (collected, mut views) = Collected::new(reader, parameters)?;
    reader.threads.run(py, threads, views.len(), |workers| {
        let parameters = views.values_mut().into_iter();
        let mut gradients = SliceGradients {
            parameters: parameters.map(ParameterSlices::new).collect(),
            workers,
        };
        let Ok(()) = gradients.apply(&Decision::Clamp { max_abs });
    })?;
    reader.mark_changed(py, &collected.read.tensors)?;
    PyList::new(py, collected.rest.tensors)
}

/// L2 norms of tensors or parameters; `None` for a tensor that is not read natively.
#[pyfunction]
pub(crate) fn norms(
    py: Python<'_>,
    reader: &Bound<'_, Reader>,
    tensors: &Bound<'_, PyList>,
    threads: usize,
) -> PyResult<Vec<Option<f64>>> {
    let reader = reader.get();
    let mut found = Vec::with_capacity(tensors.len());
    for tensor in tensors.iter() {
        found.push(reader.view_to_read(&tensor)?);
    }
    let (views, taken) = Views::new(found.iter().flatten().copied().collect());
    let measured = reader.threads.run(py, threads, views.len(), |workers| {
        workers.measure(&views.values())
    })?;
    let (mut measured, mut taken) = (measured.into_iter(), taken.into_iter());
    let norm = |view: Option<View>| {
        view?;
        let of_values = |_: bool| measured.next().map(|stats| stats.tensor_norm);
        taken.next().filter(|taken| *taken).and_then(of_values)
    };
    Ok(found.into_iter().map(norm).collect())
}
