//! The functions and types of PyTorch that are called from here.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyType};

use crate::dlpack::Exchange;
use crate::memory::{OnDevice, View, on_device_by_methods, view_by_methods};
use crate::threads::Threads;

/// The functions and types of PyTorch, which `steadygrad.torch` hands over once.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct Reader {
    tensor: Py<PyType>,
    parameter: Py<PyType>,
    exchange: Option<Exchange>,
    dtypes: [Py<PyAny>; 4],
    /// `torch.autograd.graph.increment_version`.
    increment_version: Py<PyAny>,
    /// Makes the `DeviceReading` of a list of tensors that are not read natively.
    measure: Py<PyAny>,
    /// Multiplies a list of such tensors by a number.
    scale: Py<PyAny>,
    /// Clamps a list of such tensors to a number.
    clamp: Py<PyAny>,
    pub(crate) threads: Threads,
}

#[pymethods]
impl Reader {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "called in one place, by keyword")]
    fn new(
        tensor: Bound<'_, PyType>,
        parameter: Bound<'_, PyType>,
        exchange: Option<&Bound<'_, PyCapsule>>,
        dtypes: [Py<PyAny>; 4],
        increment_version: Py<PyAny>,
        measure: Py<PyAny>,
        scale: Py<PyAny>,
        clamp: Py<PyAny>,
    ) -> PyResult<Self> {
        Ok(Self {
            tensor: tensor.unbind(),
            parameter: parameter.unbind(),
            exchange: exchange.map(Exchange::new).transpose()?.flatten(),
            dtypes,
            increment_version,
            measure,
            scale,
            clamp,
            threads: Threads::default(),
        })
    }
}

impl Reader {
    /// The view of a plain, dense CPU tensor that autograd does not follow. `None` for any other
    /// tensor.
    pub(crate) fn view(&self, tensor: &Bound<'_, PyAny>) -> PyResult<Option<View>> {
        let followed = intern!(tensor.py(), "requires_grad");
        if self.is(tensor, &self.tensor) && !tensor.getattr(followed)?.is_truthy()? {
            self.view_any(tensor)
        } else {
            Ok(None)
        }
    }

    /// Like [`view`](Self::view), for a tensor or parameter that is only read.
    pub(crate) fn view_to_read(&self, tensor: &Bound<'_, PyAny>) -> PyResult<Option<View>> {
        if self.is(tensor, &self.tensor) || self.is(tensor, &self.parameter) {
            self.view_any(tensor)
        } else {
            Ok(None)
        }
    }

    /// The address of a plain, dense CUDA tensor. `None` for any other tensor.
    pub(crate) fn on_device(&self, tensor: &Bound<'_, PyAny>) -> PyResult<Option<OnDevice>> {
        if !self.is(tensor, &self.tensor) && !self.is(tensor, &self.parameter) {
            return Ok(None);
        }
        match self.exchange {
            Some(exchange) => Ok(exchange.on_device(tensor)),
            None => on_device_by_methods(tensor, &self.dtypes),
        }
    }

    fn is(&self, tensor: &Bound<'_, PyAny>, exactly: &Py<PyType>) -> bool {
        tensor.get_type_ptr() == exactly.as_ptr().cast()
    }

    fn view_any(&self, tensor: &Bound<'_, PyAny>) -> PyResult<Option<View>> {
        match self.exchange {
            Some(exchange) => Ok(exchange.view(tensor)),
            None => view_by_methods(tensor, &self.dtypes),
        }
    }

    /// Tells autograd that the tensors were changed in place.
    pub(crate) fn mark_changed(&self, py: Python<'_>, tensors: &[Py<PyAny>]) -> PyResult<()> {
        self.increment_version.call1(py, (tensors,)).map(drop)
    }

    /// The `DeviceReading` of tensors that are not read natively.
    pub(crate) fn measure(&self, py: Python<'_>, tensors: &[Py<PyAny>]) -> PyResult<Py<PyAny>> {
        self.measure.call1(py, (tensors,))
    }

    pub(crate) fn scale(&self, py: Python<'_>, rest: &[Py<PyAny>], by: f64) -> PyResult<()> {
        self.scale.call1(py, (rest, by)).map(drop)
    }

    pub(crate) fn clamp(&self, py: Python<'_>, rest: &[Py<PyAny>], to: f64) -> PyResult<()> {
        self.clamp.call1(py, (rest, to)).map(drop)
    }
}
