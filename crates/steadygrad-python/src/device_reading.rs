//! Statistics that a device measures on its own tensors and returns as rows of numbers.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use steadygrad::TensorStats;
use steadygrad::stats::Values;

use crate::memory::{OnDevice, Views};
use crate::reader::Reader;
use crate::stats_row::{StatsRow, stats_of};

/// What a kernel writes for each tensor: the norm, the largest finite value, and the numbers of
/// non-finite, subnormal and non-zero values.
const COLUMNS: usize = 5;

/// The statistics of a list of tensors. Kernels fill them in for tensors on a CUDA device,
/// PyTorch's own operators for the rest.
#[pyclass(module = "steadygrad._native")]
pub(crate) struct DeviceReading {
    groups: Vec<Group>,
    rest: Vec<usize>,
    stats: Vec<TensorStats>,
}

/// The tensors of one device.
struct Group {
    device: i32,
    places: Vec<usize>,
    tensors: Vec<OnDevice>,
}

#[pymethods]
impl DeviceReading {
    #[new]
    fn new(reader: &Reader, tensors: &Bound<'_, PyList>) -> PyResult<Self> {
        let (mut groups, mut rest) = (Vec::<Group>::new(), Vec::new());
        for (place, tensor) in tensors.iter().enumerate() {
            let Some(found) = reader.on_device(&tensor)? else {
                rest.push(place);
                continue;
            };
            let of_device = groups.iter().position(|group| group.device == found.device);
            let at = of_device.unwrap_or_else(|| {
                groups.push(Group {
                    device: found.device,
                    places: Vec::new(),
                    tensors: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].places.push(place);
            groups[at].tensors.push(found);
        }
        Ok(Self {
            groups,
            rest,
            stats: vec![stats_of((0.0, 0.0, 0, 0, 0, 0)); tensors.len()],
        })
    }

    /// For each device: its number, the addresses of its tensors, and their types and sizes in
    /// turn, all as 64-bit integers.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> Vec<(i32, Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let bytes = |numbers: Vec<u64>| {
            let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_ne_bytes).collect();
            PyBytes::new(py, &bytes)
        };
        let each = self.groups.iter().map(|group| {
            let tensors = group.tensors.iter();
            let addresses = tensors.clone().map(|tensor| tensor.address as u64);
            let kinds = tensors.flat_map(|tensor| [tensor.kind as u64, tensor.len as u64]);
            (
                group.device,
                bytes(addresses.collect()),
                bytes(kinds.collect()),
            )
        });
        each.collect()
    }

    /// The places of the tensors in no group.
    #[getter]
    fn rest(&self) -> Vec<usize> {
        self.rest.clone()
    }

    /// Moves a group to PyTorch's operators.
    fn leave(&mut self, device: i32) {
        for group in self.groups.extract_if(.., |group| group.device == device) {
            self.rest.extend(group.places);
        }
    }

    /// Takes the measurements of a device: a float64 CPU tensor whose first rows are its tensors'.
    fn fill(&mut self, reader: &Reader, device: i32, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        let view = reader.view_to_read(rows)?;
        let (views, _) = Views::new(view.into_iter().collect());
        let values = views.values();
        let group = self.groups.iter().find(|group| group.device == device);
        let (Some(Values::F64(numbers)), Some(group)) = (values.first(), group) else {
            return Err(PyValueError::new_err("rows are a dense float64 CPU tensor"));
        };
        if numbers.len() < COLUMNS * group.places.len() {
            return Err(PyValueError::new_err("there are fewer rows than tensors"));
        }
        let rows = numbers.chunks_exact(COLUMNS);
        for ((row, &place), tensor) in rows.zip(&group.places).zip(&group.tensors) {
            let (len, non_zero) = (tensor.len as u64, row[4] as u64);
            self.stats[place] = stats_of((
                row[0],
                row[1],
                len,
                row[2] as u64,
                row[3] as u64,
                len.saturating_sub(non_zero),
            ));
        }
        Ok(())
    }

    /// Takes the measurements of one tensor: the fields of `TensorStats` in their order.
    fn put(&mut self, place: usize, row: StatsRow) -> PyResult<()> {
        let stats = self.stats.get_mut(place);
        *stats.ok_or_else(|| PyValueError::new_err("there is no such tensor"))? = stats_of(row);
        Ok(())
    }

    /// The norms of the tensors from this place on.
    fn norms(&self, first: usize) -> Vec<f64> {
        let stats = self.stats.get(first..).unwrap_or_default();
        stats.iter().map(|stats| stats.tensor_norm).collect()
    }
}

/// Measures the tensors that are not read natively, in their order.
pub(crate) fn measure(
    py: Python<'_>,
    reader: &Reader,
    tensors: &[Py<PyAny>],
) -> PyResult<Vec<TensorStats>> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let measured = reader.measure(py, tensors)?;
    let measured = measured.bind(py).cast::<DeviceReading>()?.borrow();
    Ok(measured.stats().to_vec())
}

impl DeviceReading {
    pub(crate) fn stats(&self) -> &[TensorStats] {
        &self.stats
    }
}
