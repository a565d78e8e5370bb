//! The gradients of a list of parameters: measured when they are collected, scaled when asked.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use steadygrad::stats::{TensorStats, Values, global_norm};

use crate::memory::{View, write_each};
use crate::reader::Reader;
use crate::stats::GradientStats;

/// The gradients that the parameters had, with statistics of those that are read natively.
#[pyclass(module = "steadygrad._native")]
pub(crate) struct Gradients {
    reader: Py<Reader>,
    threads: usize,
    /// Those read natively, with the place of their parameter in the list.
    read: Vec<Py<PyAny>>,
    places: Vec<usize>,
    stats: Vec<TensorStats>,
    /// One bit for each type among them, as in [`crate::memory::Kind`].
    kinds: u8,
    rest: Vec<Py<PyAny>>,
    rest_places: Vec<usize>,
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
        let mut this = Self {
            reader,
            threads,
            read: Vec::with_capacity(parameters.len()),
            places: Vec::with_capacity(parameters.len()),
            stats: Vec::new(),
            kinds: 0,
            rest: Vec::new(),
            rest_places: Vec::new(),
        };
        let reader = this.reader.get();
        let mut views = Vec::with_capacity(parameters.len());
        for (place, parameter) in parameters.iter().enumerate() {
            let grad = parameter.getattr(intern!(py, "grad"))?;
            if grad.is_none() {
                continue;
            }
            if let Some(view) = reader.view(&grad)? {
                this.kinds |= 1 << view.kind() as u8;
                views.push(view);
                this.read.push(grad.unbind());
                this.places.push(place);
            } else {
                this.rest.push(grad.unbind());
                this.rest_places.push(place);
            }
        }
        let values: Vec<Values<'_>> = views.iter().map(View::values).collect();
        this.stats = reader.threads.run(py, threads, total(&values), |workers| {
            workers.measure(&values)
        })?;
        Ok(this)
    }

    /// The gradients that are left to PyTorch's own operators.
    #[getter]
    fn rest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.rest)
    }

    /// How many are read natively.
    #[getter]
    fn read(&self) -> usize {
        self.read.len()
    }

    #[getter]
    fn kinds(&self) -> u8 {
        self.kinds
    }

    /// The L2 norm over those read natively.
    #[getter]
    fn global_norm(&self) -> f64 {
        global_norm(self.stats.iter().map(|stats| stats.tensor_norm))
    }

    /// The largest absolute value over those read natively: NaN if any value is NaN.
    #[getter]
    fn max_norm(&self) -> f64 {
        let mut largest = 0.0;
        for stats in &self.stats {
            if stats.non_finite == 0 {
                largest = f64::max(largest, stats.max_abs);
            } else if stats.tensor_norm.is_nan() {
                return f64::NAN;
            } else {
                largest = f64::INFINITY;
            }
        }
        largest
    }

    /// Multiplies those read natively.
    fn scale(&self, py: Python<'_>, coefficient: f64) -> PyResult<()> {
        let reader = self.reader.get();
        let mut views = Vec::with_capacity(self.read.len());
        for grad in &self.read {
            let view = reader.view(grad.bind(py))?;
            views.push(view.ok_or_else(|| {
                PyRuntimeError::new_err("a gradient was replaced while it was being clipped")
            })?);
        }
        let values = views.iter().map(|view| view.values().len()).sum();
        reader.threads.run(py, self.threads, values, |workers| {
            write_each(views, |round| {
                workers.scale(round.into_iter().map(|values| (values, coefficient)));
            });
        })?;
        reader.mark_changed(py, &self.read)
    }

    /// The statistics under the parameters' names, with those of [`Gradients::rest`] as measured by
    /// the caller.
    fn statistics(
        &self,
        names: Py<PyTuple>,
        rest: Vec<(f64, f64, u64, u64, u64, u64)>,
        max_norm: f64,
    ) -> GradientStats {
        let mut rows: Vec<(usize, TensorStats)> = self
            .places
            .iter()
            .copied()
            .zip(self.stats.iter().copied())
            .collect();
        if !rest.is_empty() {
            let rest =
                rest.into_iter()
                    .map(
                        |(tensor_norm, max_abs, len, non_finite, subnormal, zero)| TensorStats {
                            tensor_norm,
                            max_abs,
                            len,
                            non_finite,
                            subnormal,
                            zero,
                        },
                    );
            rows.extend(self.rest_places.iter().copied().zip(rest));
            rows.sort_by_key(|(place, _)| *place);
        }
        GradientStats::new(names, rows, max_norm)
    }
}

fn total(values: &[Values<'_>]) -> usize {
    values.iter().map(Values::len).sum()
}
