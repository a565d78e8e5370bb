use std::ops::Range;

use super::History;
use crate::diagnose::Chart;
use crate::trace::{Role, Series};

/// Values in a chart: what fits a line of a terminal.
const CHART: usize = 72;

/// Values in a chart of the whole log.
const OVERVIEW: usize = 500;

impl History<'_> {
    /// A column around some rows, thinned to a line.
    pub fn chart(&self, role: &Role, rows: Range<usize>) -> Option<Chart> {
        self.drawn(role, rows, CHART)
    }

    /// A column of the rows from end to end, thinned to a plot.
    pub fn overview(&self, role: &Role) -> Option<Chart> {
        self.drawn(role, 0..self.rows().len(), OVERVIEW)
    }

    fn drawn(&self, role: &Role, rows: Range<usize>, most: usize) -> Option<Chart> {
        let column = self.trace().series(role).map(Series::column);
        let rows = self
            .rows()
            .get(rows.start..rows.end.min(self.rows().len()))?;
        let points: Vec<(u64, f64)> = rows
            .iter()
            .filter_map(|row| {
                let value = match role {
                    Role::Loss => row.loss,
                    Role::GradNorm => row.grad_norm,
                    Role::LearningRate => row.learning_rate(),
                    _ => None,
                };
                Some((row.step, value?))
            })
            .collect();
        thinned(column.unwrap_or("grad_norm"), &points, most)
    }

    /// A whole column that is not one of the rows', thinned to a line.
    pub fn chart_of(&self, role: &Role) -> Option<Chart> {
        let series = self.trace().series(role)?;
        let steps = series.steps().iter().copied();
        let points: Vec<(u64, f64)> = steps.zip(series.values().iter().copied()).collect();
        thinned(series.column(), &points, CHART)
    }
}

/// Points as a chart; none without a point.
fn thinned(column: &str, points: &[(u64, f64)], most: usize) -> Option<Chart> {
    let part = points.len().div_ceil(most).max(1);
    let worst = |a: &(u64, f64), b: &(u64, f64)| {
        let odd = |value: f64| !value.is_finite();
        odd(a.1).cmp(&odd(b.1)).then(a.1.total_cmp(&b.1))
    };
    let shown: Vec<(u64, f64)> = points
        .chunks(part)
        .filter_map(|part| part.iter().copied().max_by(worst))
        .collect();
    (!shown.is_empty()).then(|| Chart {
        column: column.to_owned(),
        steps: shown.iter().map(|point| point.0).collect(),
        values: shown.iter().map(|point| point.1).collect(),
    })
}
