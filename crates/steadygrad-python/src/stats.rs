//! Statistics as Python sees them. Their Python objects are made on demand.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};
use steadygrad::stats::{NamedStats, TensorStats as Stats, global_norm};
use steadygrad::{Decision, StepReading};

use crate::device_reading::DeviceReading;
use crate::stats_row::stats_of;

/// The statistics of one parameter's gradient.
#[pyclass(frozen, get_all, module = "steadygrad._native")]
pub(crate) struct TensorStats {
    tensor_norm: f64,
    max_abs: f64,
    numel: u64,
    non_finite: u64,
    subnormal: u64,
    zero: u64,
    share: f64,
}

#[pymethods]
impl TensorStats {
    fn __repr__(&self) -> String {
        format!(
            "TensorStats(tensor_norm={:.4e}, share={:.4}, max_abs={:.4e}, numel={}, non_finite={}, \
             subnormal={}, zero={})",
            self.tensor_norm,
            self.share,
            self.max_abs,
            self.numel,
            self.non_finite,
            self.subnormal,
            self.zero
        )
    }
}

/// Statistics of all parameters that had a gradient, by name, as measured before any clipping.
#[pyclass(frozen, mapping, module = "steadygrad._native")]
pub(crate) struct GradientStats {
    names: Py<PyTuple>,
    /// The place of the parameter's name, and its statistics.
    rows: Vec<(usize, Stats)>,
    /// The row of each name, made at the first look-up.
    index: PyOnceLock<Py<PyDict>>,
    global_norm: f64,
    actions: Vec<&'static str>,
    coefficient: f64,
}

impl GradientStats {
    pub(crate) fn new(
        names: Py<PyTuple>,
        rows: Vec<(usize, Stats)>,
        decisions: &[Decision],
    ) -> Self {
        let global_norm = global_norm(rows.iter().map(|(_, stats)| stats.tensor_norm));
        Self {
            names,
            rows,
            index: PyOnceLock::new(),
            global_norm,
            actions: decisions.iter().map(Decision::name).collect(),
            coefficient: decisions.iter().map(coefficient).product(),
        }
    }

    /// One step as the core judges it.
    pub(crate) fn reading(
        &self,
        py: Python<'_>,
        step: u64,
        loss: f64,
        learning_rate: f64,
        weight_norms: Vec<f64>,
    ) -> PyResult<StepReading> {
        let gradients = self.named(py)?;
        Ok(StepReading::new(step, loss, learning_rate, gradients).with_weight_norms(weight_norms))
    }

    fn named(&self, py: Python<'_>) -> PyResult<steadygrad::GradientStats> {
        let rows = self.rows.iter().enumerate();
        let tensors = rows.map(|(row, (_, stats))| {
            Ok(NamedStats {
                name: self.name(py, row)?.extract()?,
                stats: *stats,
            })
        });
        Ok(steadygrad::GradientStats {
            tensors: tensors.collect::<PyResult<_>>()?,
        })
    }

    fn name<'py>(&self, py: Python<'py>, row: usize) -> PyResult<Bound<'py, PyAny>> {
        self.names.bind(py).get_item(self.rows[row].0)
    }

    /// `norm^2 / global_norm^2`; NaN when either is NaN or both are infinite, 0 when all is zero.
    fn share(&self, stats: &Stats) -> f64 {
        if self.global_norm == 0.0 {
            0.0
        } else {
            (stats.tensor_norm / self.global_norm).powi(2)
        }
    }

    fn tensor(&self, row: usize) -> TensorStats {
        let stats = &self.rows[row].1;
        TensorStats {
            tensor_norm: stats.tensor_norm,
            max_abs: stats.max_abs,
            numel: stats.len,
            non_finite: stats.non_finite,
            subnormal: stats.subnormal,
            zero: stats.zero,
            share: self.share(stats),
        }
    }

    fn row(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let index = self.index.get_or_try_init(py, || {
            let index = PyDict::new(py);
            for row in 0..self.rows.len() {
                index.set_item(self.name(py, row)?, row)?;
            }
            Ok::<_, PyErr>(index.unbind())
        })?;
        let row = index.bind(py).get_item(name)?;
        row.map(|row| row.extract()).transpose()
    }

    fn pairs<'py>(
        &self,
        py: Python<'py>,
        rows: impl IntoIterator<Item = usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for row in rows {
            list.append((self.name(py, row)?, self.tensor(row)))?;
        }
        Ok(list)
    }

    /// Rows by falling norm: NaN first, then infinite, then finite ones.
    fn by_norm(&self) -> Vec<usize> {
        let norm = |&row: &usize| self.rows[row].1.tensor_norm;
        let mut rows: Vec<usize> = (0..self.rows.len()).collect();
        rows.sort_by(|a, b| norm(b).abs().total_cmp(&norm(a).abs()));
        rows
    }
}

/// The factor by which a decision scales every gradient. NaN if it is not one number.
fn coefficient(decision: &Decision) -> f64 {
    match decision {
        Decision::Keep => 1.0,
        Decision::ScaleGlobal { coefficient } => *coefficient,
        _ => f64::NAN,
    }
}

/// The number of rows that `repr` shows.
const SHOWN: usize = 10;

/// A row as plain numbers: the place of its name, then the fields of [`Stats`] in their order.
type Row = (usize, f64, f64, u64, u64, u64, u64);

#[pymethods]
impl GradientStats {
    /// From the rows that `rows` returns.
    #[staticmethod]
    fn of_rows(names: Py<PyTuple>, rows: Vec<Row>) -> Self {
        let rows = rows.into_iter();
        let rows = rows.map(|(place, norm, max, len, non_finite, subnormal, zero)| {
            (
                place,
                stats_of((norm, max, len, non_finite, subnormal, zero)),
            )
        });
        Self::new(names, rows.collect(), &[])
    }

    /// From the first tensors of a reading, whose names are at these places.
    #[staticmethod]
    fn of_reading(names: Py<PyTuple>, places: Vec<usize>, reading: &DeviceReading) -> Self {
        let stats = reading.stats().iter().copied();
        Self::new(names, places.into_iter().zip(stats).collect(), &[])
    }

    /// All rows as plain numbers: the place of the parameter's name, the norm, the largest value,
    /// and the numbers of all, non-finite, subnormal and zero values.
    fn rows(&self) -> Vec<Row> {
        let rows = self.rows.iter();
        rows.map(|(place, stats)| {
            (
                *place,
                stats.tensor_norm,
                stats.max_abs,
                stats.len,
                stats.non_finite,
                stats.subnormal,
                stats.zero,
            )
        })
        .collect()
    }

    #[getter]
    fn global_norm(&self) -> f64 {
        self.global_norm
    }

    #[getter]
    fn coefficient(&self) -> f64 {
        self.coefficient
    }

    #[getter]
    fn actions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.actions)
    }

    #[getter]
    fn max_abs(&self) -> f64 {
        self.rows
            .iter()
            .map(|(_, stats)| stats.max_abs)
            .fold(0.0, f64::max)
    }

    #[getter]
    fn non_finite(&self) -> u64 {
        self.rows.iter().map(|(_, stats)| stats.non_finite).sum()
    }

    #[getter]
    fn subnormal(&self) -> u64 {
        self.rows.iter().map(|(_, stats)| stats.subnormal).sum()
    }

    fn top<'py>(&self, py: Python<'py>, k: usize) -> PyResult<Bound<'py, PyList>> {
        self.pairs(py, self.by_norm().into_iter().take(k))
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let names: PyResult<Vec<_>> = (0..self.rows.len()).map(|row| self.name(py, row)).collect();
        PyList::new(py, names?)
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for row in 0..self.rows.len() {
            list.append(self.tensor(row))?;
        }
        Ok(list)
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.pairs(py, 0..self.rows.len())
    }

    #[pyo3(signature = (name, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match self.row(py, name)? {
            Some(row) => Some(Bound::new(py, self.tensor(row))?.into_any()),
            None => default,
        })
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.try_iter()?.into_any())
    }

    fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.row(py, name)?.is_some())
    }

    fn __getitem__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<TensorStats> {
        match self.row(py, name)? {
            Some(row) => Ok(self.tensor(row)),
            None => Err(PyKeyError::new_err(name.clone().unbind())),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let count = self.rows.len();
        let plural = if count == 1 { "" } else { "s" };
        let mut text = format!(
            "GradientStats: global norm {:.4e}, {count} tensor{plural}, {} non-finite",
            self.global_norm,
            self.non_finite()
        );
        let rows: Vec<usize> = self.by_norm().into_iter().take(SHOWN).collect();
        let names: PyResult<Vec<String>> = rows
            .iter()
            .map(|&row| Ok(self.name(py, row)?.str()?.to_string()))
            .collect();
        let names = names?;
        let width = names
            .iter()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0)
            .max(9);
        if !rows.is_empty() {
            text += &format!(
                "\n{:width$}  {:>10}  {:>6}  {:>10}  {:>10}  non-finite",
                "parameter", "norm", "share", "max |g|", "values"
            );
        }
        for (name, &row) in names.iter().zip(&rows) {
            let (_, stats) = &self.rows[row];
            text += &format!(
                "\n{name:width$}  {:>10.3e}  {:>5.1}%  {:>10.3e}  {:>10}  {:>10}",
                stats.tensor_norm,
                100.0 * self.share(stats),
                stats.max_abs,
                stats.len,
                stats.non_finite
            );
        }
        if count > SHOWN {
            text += &format!("\n... and {} more", count - SHOWN);
        }
        Ok(text)
    }
}
