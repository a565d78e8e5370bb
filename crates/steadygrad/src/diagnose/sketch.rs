//! Small made-up logs, for the rules' examples and tests.

use crate::trace::{Cadence, Role, Series, Trace};

/// Pairs steps and values; the longer list is cut.
pub(crate) fn series(role: Role, steps: &[u64], values: &[f64]) -> Series {
    let count = steps.len().min(values.len());
    let steps = steps[..count].into();
    let column = role.column();
    Series::new(role, column, steps, values[..count].to_vec()).expect("equal lengths")
}

/// A log with one row for each step; it starts as the log of a healthy run.
pub(super) struct Sketch {
    losses: Vec<f64>,
    norms: Vec<f64>,
    rates: Vec<f64>,
    others: Vec<Series>,
}

/// A number in -1..1 that looks like noise and is always the same.
pub(super) fn noise(index: usize) -> f64 {
    (index as f64 * 12.9898).sin() * (index as f64 * 4.1414).cos()
}

impl Sketch {
    /// Starts with a loss that falls from 2.3, a norm around 1 and a constant learning rate.
    pub(super) fn healthy(rows: usize) -> Self {
        let at = |index: usize| index as f64;
        Self {
            losses: (0..rows)
                .map(|row| (0.3 + 2.0 * (-at(row) / 60.0).exp()) * (1.0 + 0.03 * noise(row)))
                .collect(),
            norms: (0..rows).map(|row| 1.0 + 0.2 * noise(row + 7)).collect(),
            rates: vec![0.01; rows],
            others: Vec::new(),
        }
    }

    /// Changes the losses from a row on, given the rows since then and the old value.
    pub(super) fn loss(mut self, from: usize, change: impl Fn(usize, f64) -> f64) -> Self {
        change_from(&mut self.losses, from, change);
        self
    }

    /// Changes the gradient norms from a row on.
    pub(super) fn norm(mut self, from: usize, change: impl Fn(usize, f64) -> f64) -> Self {
        change_from(&mut self.norms, from, change);
        self
    }

    /// Changes the learning rates from a row on.
    pub(super) fn rate(mut self, from: usize, change: impl Fn(usize, f64) -> f64) -> Self {
        change_from(&mut self.rates, from, change);
        self
    }

    /// Adds a column.
    pub(super) fn with(mut self, role: Role, value: impl Fn(usize) -> f64) -> Self {
        let steps: Vec<u64> = (0..self.losses.len() as u64).collect();
        let values: Vec<f64> = (0..self.losses.len()).map(value).collect();
        self.others.push(series(role, &steps, &values));
        self
    }

    /// Adds the gradient norms of `layers` layers; the first layer's is `ratio` times the last
    /// one's.
    pub(super) fn layers(self, layers: usize, ratio: f64) -> Self {
        let norms = self.norms.clone();
        (0..layers).fold(self, |sketch, layer| {
            let share = (layers - 1 - layer) as f64 / (layers - 1).max(1) as f64;
            let role = Role::ParameterGradNorm(format!("layers.{layer}.weight"));
            sketch.with(role, |row| norms[row] * ratio.powf(share))
        })
    }

    /// Makes the log.
    pub(super) fn trace(self) -> Trace {
        let steps: Vec<u64> = (0..self.losses.len() as u64).collect();
        let columns = [
            (Role::Loss, self.losses),
            (Role::GradNorm, self.norms),
            (Role::LearningRate, self.rates),
        ];
        let columns = columns
            .into_iter()
            .map(|(role, values)| series(role, &steps, &values));
        Trace {
            name: "example".into(),
            format: "a sketch".into(),
            series: columns.chain(self.others).collect(),
            cadence: Cadence::Step,
            ..Trace::default()
        }
    }
}

fn change_from(values: &mut [f64], from: usize, change: impl Fn(usize, f64) -> f64) {
    for (since, value) in values.iter_mut().skip(from).enumerate() {
        *value = change(since, *value);
    }
}

/// Two hundred steps of a healthy run: the silent example of most rules.
pub(super) fn healthy() -> Trace {
    Sketch::healthy(200).trace()
}

/// A run that diverges from step 100 on: its norm grows by half at each step.
pub(super) fn diverging() -> Sketch {
    Sketch::healthy(130)
        .norm(100, |since, norm| norm * 1.5f64.powi(since as i32))
        .loss(102, |since, loss| loss * 1.4f64.powi(since as i32))
}
