//! Finds the memory of a tensor's values.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyType};

use crate::memory::{Exchange, View};
use crate::threads::Threads;

/// How PyTorch's tensors are read: made once, from what `torch` offers.
#[pyclass(frozen, module = "steadygrad._native")]
pub(crate) struct Reader {
    tensor: Py<PyType>,
    exchange: Exchange,
    increment_version: Py<PyAny>,
    pub(crate) threads: Threads,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(
        tensor: Bound<'_, PyType>,
        exchange: &Bound<'_, PyCapsule>,
        increment_version: Py<PyAny>,
    ) -> PyResult<Self> {
        let exchange = Exchange::new(exchange)?.ok_or_else(|| {
            PyRuntimeError::new_err("this PyTorch offers a version of DLPack that is not known")
        })?;
        Ok(Self {
            tensor: tensor.unbind(),
            exchange,
            increment_version,
            threads: Threads::default(),
        })
    }
}

impl Reader {
    /// The view of a plain, dense CPU tensor that autograd does not follow; `None` of any other.
    pub(crate) fn view(&self, tensor: &Bound<'_, PyAny>) -> PyResult<Option<View>> {
        let exact = tensor.get_type_ptr() == self.tensor.as_ptr().cast();
        if !exact
            || tensor
                .getattr(intern!(tensor.py(), "requires_grad"))?
                .is_truthy()?
        {
            return Ok(None);
        }
        Ok(self.exchange.view(tensor))
    }

    /// Tells autograd that the tensors were changed in place.
    pub(crate) fn mark_changed(&self, py: Python<'_>, tensors: &[Py<PyAny>]) -> PyResult<()> {
        let tensors = PyList::new(py, tensors)?;
        self.increment_version.call1(py, (tensors,)).map(drop)
    }
}
