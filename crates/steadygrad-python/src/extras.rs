//! The tensors that some policies need besides the gradients.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use steadygrad::Workers;
use steadygrad::clip::{ParameterSlices, SliceGradients};
use steadygrad::stats::{SecondMoment, Units};

use crate::memory::{View, Views};
use crate::reader::Reader;

type Tensors<'py> = Vec<Option<Bound<'py, PyAny>>>;

/// Lists with one entry for each parameter; `None` where a parameter has none.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Extras<'py> {
    /// The weights before the step.
    weights: Tensors<'py>,
    /// The optimizer's second moments, and their bias correction.
    moments: Tensors<'py>,
    factors: Vec<f64>,
    /// The changes that the optimizer made. Only these tensors are written.
    updates: Tensors<'py>,
}

/// The views of one call: gradients and updates, which are written, then the tensors that are read.
pub(crate) struct Lists {
    views: Views,
    rows: Vec<Row>,
    written: usize,
}

/// The places of a parameter's entries in the lists.
struct Row {
    units: Units,
    updated: bool,
    weight: Option<usize>,
    moment: Option<(usize, f64)>,
}

impl Lists {
    /// `places` are those of the gradients' parameters.
    pub(crate) fn new(
        reader: &Reader,
        gradients: &Views,
        places: &[usize],
        extras: &Extras<'_>,
    ) -> PyResult<Self> {
        let mut written = gradients.each().to_vec();
        let mut read = Vec::new();
        let mut rows = Vec::with_capacity(places.len());
        let beside = |list: &Tensors<'_>, place: usize, gradient: &View| {
            let tensor = list.get(place).and_then(Option::as_ref);
            tensor.map(|tensor| {
                let view = reader.view_to_read(tensor)?;
                view.filter(|view| view.pairs_with(gradient))
                    .ok_or_else(|| refusal(place))
            })
        };
        for (gradient, &place) in gradients.each().iter().zip(places) {
            let update = beside(&extras.updates, place, gradient).transpose()?;
            let weight = beside(&extras.weights, place, gradient).transpose()?;
            let moment = beside(&extras.moments, place, gradient).transpose()?;
            written.extend(update);
            let mut add = |view: View| {
                read.push(view);
                read.len() - 1
            };
            rows.push(Row {
                // Units matter beside weights alone. With an update, whole tensors are scaled.
                units: match gradient.units() {
                    Some(units) => units,
                    None if weight.is_none() || update.is_some() => Units::One,
                    None => return Err(refusal(place)),
                },
                updated: update.is_some(),
                weight: weight.map(&mut add),
                moment: moment.map(&mut add).zip(extras.factors.get(place).copied()),
            });
        }
        let count = written.len();
        let (views, taken) = Views::new([written, read].concat());
        match taken.iter().position(|taken| !taken) {
            Some(_) => Err(PyNotImplementedError::new_err(
                "two of the weights, gradients and optimizer states share memory",
            )),
            None => Ok(Self {
                views,
                rows,
                written: count,
            }),
        }
    }

    pub(crate) fn slices<'a, 'w>(&'a mut self, workers: &'w Workers) -> SliceGradients<'a, 'w> {
        let (mut gradients, read) = self.views.split(self.written);
        let mut updates = gradients.split_off(self.rows.len()).into_iter();
        let rows = self.rows.iter().zip(gradients);
        let parameters = rows.map(|(row, gradient)| ParameterSlices {
            gradient,
            units: row.units,
            weight: row.weight.map(|at| read[at]),
            second_moment: row.moment.map(|(at, factor)| SecondMoment {
                values: read[at],
                factor,
            }),
            update: if row.updated { updates.next() } else { None },
        });
        SliceGradients {
            parameters: parameters.collect(),
            workers,
        }
    }
}

fn refusal(place: usize) -> PyErr {
    PyNotImplementedError::new_err(format!(
        "parameter {place}: this policy needs its \
         weights, gradient and optimizer state as dense CPU tensors of one layout"
    ))
}
