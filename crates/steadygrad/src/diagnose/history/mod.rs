//! A log made ready for the rules: its rows, what the detectors say to them, and how it ended.

mod ending;
mod interventions;
mod rise;
mod rows;
mod streaks;

pub use ending::Ending;
pub use interventions::GUARDED;
pub use rise::Rise;
pub use rows::Row;
pub use streaks::Streak;

use std::collections::HashMap;
use std::ops::Range;

use super::finding::Chart;
use crate::StepReading;
use crate::detect::{Detection, Detector, Severity};
use crate::guard::{Guard, Preset};
use crate::statistics;
use crate::stats::{GradientStats, NamedStats, TensorStats};
use crate::trace::{Role, Series, Trace};

/// Of each detector so many detections are kept of one after the other: the first ones tell what began.
const KEPT: usize = 16;

/// And so many in all: a log may be all noise.
const MOST: usize = 65_536;

/// Values in a chart: what fits a line of a terminal.
const CHART: usize = 72;

/// Values in a chart of the whole log.
const OVERVIEW: usize = 500;

/// A log as the rules look at it.
#[derive(Debug, Clone)]
pub struct History<'a> {
    trace: &'a Trace,
    rows: Vec<Row>,
    seen: Vec<(usize, Detection)>,
    streaks: Vec<Streak>,
    ending: Ending,
}

impl<'a> History<'a> {
    /// Reads a log: pairs its columns by step, shows them to the guard's own detectors, which only
    /// watch, and says how the run ended.
    pub fn of(trace: &'a Trace) -> Self {
        let rows = rows::rows(trace);
        let ending = Ending::of(&rows);
        let (seen, streaks) = rayon::join(|| detections(&rows), || streaks::streaks(&rows));
        Self {
            trace,
            rows,
            seen,
            streaks,
            ending,
        }
    }

    /// The log.
    pub fn trace(&self) -> &'a Trace {
        self.trace
    }

    /// Its rows, in the order of the log.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How the run ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Stretches of rows that stand out from those before.
    pub fn streaks(&self) -> &[Streak] {
        &self.streaks
    }

    /// The step of a row; of the last one for a row beyond the end.
    pub fn step(&self, row: usize) -> u64 {
        let row = self.rows.get(row).or(self.rows.last());
        row.map_or(0, |row| row.step)
    }

    /// What detectors saw, and in which row.
    pub fn seen(&self) -> impl Iterator<Item = (usize, &Detection)> {
        self.seen.iter().map(|(row, seen)| (*row, seen))
    }

    /// What detectors saw within these rows.
    pub fn seen_in(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, &Detection)> {
        let from = self.seen.partition_point(|(row, _)| *row < rows.start);
        let seen = self.seen.get(from..).unwrap_or_default().iter();
        let within = seen.take_while(move |(row, _)| *row < rows.end);
        within.map(|(row, seen)| (*row, seen))
    }

    /// The first harmful detection of this detector within these rows.
    pub fn harmful(&self, detector: Detector, rows: Range<usize>) -> Option<(usize, &Detection)> {
        self.seen_in(rows)
            .find(|(_, seen)| seen.detector == detector && seen.severity >= Severity::Harmful)
    }

    /// The streak that this row is in.
    pub fn streak_at(&self, row: usize) -> Option<&Streak> {
        let next = self.streaks.partition_point(|streak| streak.to <= row);
        self.streaks.get(next).filter(|streak| streak.from <= row)
    }

    /// The row from which the run was in the trouble that it did not come out of: where it first
    /// stood out. `None` for a run that ended well.
    pub fn onset(&self) -> Option<usize> {
        let lost = self.ending.row()?;
        Some(self.streak_at(lost).map_or(lost, |streak| streak.from))
    }

    /// The parameter with the largest share of the squared norm at a step, and that share.
    pub fn largest_share(&self, step: u64) -> Option<(&'a str, f64)> {
        let norms = self.parameters_at(step);
        let largest = norms.iter().map(|norm| norm.1).fold(0.0, f64::max);
        // Over the largest, or the squares overflow.
        let square = |norm: f64| (norm / largest).powi(2);
        let all: f64 = norms.iter().map(|norm| square(norm.1)).sum();
        let (name, norm) = norms.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (largest > 0.0).then(|| (name, square(norm) / all))
    }

    /// The parameters' norms in the last row at or before this step that has them all finite.
    pub fn parameters_at(&self, step: u64) -> Vec<(&'a str, f64)> {
        let parameters: Vec<(&str, &Series)> = self.trace.parameters().collect();
        let at = |series: &Series| {
            let steps = series.steps();
            (0..steps.len())
                .rev()
                .find(|index| steps[*index] <= step && series.values()[*index].is_finite())
                .map(|index| series.values()[index])
        };
        let values = parameters
            .iter()
            .map(|(name, series)| Some((*name, at(series)?)));
        values.collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// The first parameter in the order of the log, where in this row its gradient alone is NaN and the loss is
    /// finite. `None` in a log with a loss scale, whose overflows look alike.
    ///
    /// What reads the batch multiplies it with what comes back: an infinite input whose size a saturating activation
    /// hid from the loss makes `0 * inf` there, and nowhere else. An embedding is given whole numbers, of which none is
    /// infinite.
    pub fn broken_at_the_input(&self, row: usize) -> Option<&'a str> {
        const EMBEDDINGS: [&str; 3] = ["emb", "wte", "wpe"];
        let row = self.rows.get(row)?;
        let hidden = row.loss.is_some_and(f64::is_finite) && row.grad_norm.is_some_and(f64::is_nan);
        if !hidden || self.trace.series(&Role::LossScale).is_some() {
            return None;
        }
        let mut norms = self.trace.parameters().map(|(name, series)| {
            let at = series.steps().iter().rposition(|at| *at == row.step)?;
            Some((name, series.values()[at]))
        });
        let (name, first) = norms.next()??;
        if !first.is_nan() || EMBEDDINGS.iter().any(|known| name.contains(known)) {
            return None;
        }
        let mut others = norms.peekable();
        others.peek()?;
        let finite = |other: Option<(&str, f64)>| other.is_some_and(|(_, norm)| norm.is_finite());
        others.all(finite).then_some(name)
    }

    /// A column around some rows, thinned to a line.
    pub fn chart(&self, role: &Role, rows: Range<usize>) -> Option<Chart> {
        self.drawn(role, rows, CHART)
    }

    /// A column of the rows from end to end, thinned to a plot.
    pub fn overview(&self, role: &Role) -> Option<Chart> {
        self.drawn(role, 0..self.rows.len(), OVERVIEW)
    }

    fn drawn(&self, role: &Role, rows: Range<usize>, most: usize) -> Option<Chart> {
        let column = self.trace.series(role).map(Series::column);
        let rows = self.rows.get(rows.start..rows.end.min(self.rows.len()))?;
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
        let series = self.trace.series(role)?;
        let steps = series.steps().iter().copied();
        let points: Vec<(u64, f64)> = steps.zip(series.values().iter().copied()).collect();
        thinned(series.column(), &points, CHART)
    }
}

/// See [`statistics::median`].
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    statistics::median(&mut values.collect::<Vec<_>>())
}

/// The value that a quarter of the values lie below.
fn lower_quartile(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 4).copied()
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

/// What a guard that only watches would have said.
fn detections(rows: &[Row]) -> Vec<(usize, Detection)> {
    let mut guard = Guard::from(Preset::Observe);
    // Of each detector the last row it spoke in, and for how many rows on end it has.
    let mut lasts: HashMap<Detector, (usize, usize)> = HashMap::new();
    let (mut loss, mut rate) = (0.0, 0.0);
    let mut seen = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        // What was not logged is what it was: no detector sees a change in that.
        loss = row.loss.unwrap_or(loss);
        rate = row.learning_rate().unwrap_or(rate);
        let tensors = row.grad_norm.map(|tensor_norm| NamedStats {
            name: String::new(),
            stats: TensorStats {
                tensor_norm,
                ..TensorStats::default()
            },
        });
        let gradients = GradientStats {
            tensors: tensors.into_iter().collect(),
        };
        let reading = StepReading::new(row.step, loss, rate, gradients);
        for detection in guard.step(&reading).detections {
            let (last, length) = lasts.entry(detection.detector).or_insert((index, 0));
            *length = if *last + 1 >= index { *length + 1 } else { 1 };
            *last = index;
            if *length <= KEPT && seen.len() < MOST {
                seen.push((index, detection));
            }
        }
    }
    seen
}
