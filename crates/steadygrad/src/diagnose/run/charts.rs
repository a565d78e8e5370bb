use std::ops::Range;

use super::History;
use crate::diagnose::Chart;
use crate::trace::{Role, Series};

/// Values in a chart: as many as fit a line of a terminal.
const CHART: usize = 72;

/// Values in a chart of the whole log.
const OVERVIEW: usize = 500;

impl History<'_> {
    /// Returns a column in these rows, thinned to a line. `None` if it has no value there.
    pub fn chart(&self, role: &Role, rows: Range<usize>) -> Option<Chart> {
        self.thinned(role, rows, CHART)
    }

    /// Returns a column of all rows, thinned to a plot. `None` if it has no value.
    pub fn overview(&self, role: &Role) -> Option<Chart> {
        self.thinned(role, 0..self.rows().len(), OVERVIEW)
    }

    fn thinned(&self, role: &Role, rows: Range<usize>, most: usize) -> Option<Chart> {
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

    /// Returns a whole column that the rows do not hold, thinned to a line. `None` if there is
    /// none.
    pub fn chart_of(&self, role: &Role) -> Option<Chart> {
        let series = self.trace().series(role)?;
        let steps = series.steps().iter().copied();
        let points: Vec<(u64, f64)> = steps.zip(series.values().iter().copied()).collect();
        thinned(series.column(), &points, CHART)
    }
}

/// Keeps the largest value of each part; one that is not finite counts as the largest.
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
