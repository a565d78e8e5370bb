use std::borrow::Cow;

use crate::trace::{Role, Series, Trace};

/// The values of one step in a log.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The step.
    pub step: u64,
    /// Training loss; `None` if the log has none for this step.
    pub loss: Option<f64>,
    /// Gradient norm before clipping. If the log has only the parameters' norms, the root of the
    /// sum of their squares.
    pub grad_norm: Option<f64>,
    /// NaN if none was logged: an `Option` takes 8 more bytes, in each of a million rows.
    rate: f64,
    /// Whether a part of the loss is not finite from here on.
    pub(super) is_part_broken: bool,
}

impl Row {
    pub(super) fn new(
        step: u64,
        loss: Option<f64>,
        grad_norm: Option<f64>,
        rate: Option<f64>,
    ) -> Self {
        Self {
            step,
            loss,
            grad_norm,
            rate: rate.unwrap_or(f64::NAN),
            is_part_broken: false,
        }
    }

    /// Returns the last learning rate logged up to this row; `None` if there is none, or it is NaN.
    pub fn learning_rate(&self) -> Option<f64> {
        (!self.rate.is_nan()).then_some(self.rate)
    }
}

/// A place in the order of a log: the number of restarts so far, and the step. Steps rise between
/// restarts.
pub(super) type Key = (u32, u64);

/// Pairs the values of a series with their keys.
pub(super) fn keyed(series: &Series) -> impl Iterator<Item = (Key, f64)> {
    let (mut restarts, mut last) = (0u32, 0u64);
    let steps = series.steps().iter().copied();
    steps.zip(series.values()).map(move |(step, value)| {
        if step < last {
            restarts = restarts.saturating_add(1);
        }
        last = step;
        ((restarts, step), *value)
    })
}

/// Pairs loss, gradient norm and learning rate by step, in the order of the log. If a step was
/// logged twice between restarts, its last values count. Each row comes with its key.
///
/// A log that has neither a loss nor a gradient norm has the rows of its other columns, without
/// values.
pub(super) fn rows(trace: &Trace) -> (Vec<Row>, Vec<Key>) {
    let norms = match trace.series(&Role::GradNorm) {
        Some(norms) => Some(Cow::Borrowed(norms)),
        None => of_parameters(trace).map(Cow::Owned),
    };
    let mut losses = trace.series(&Role::Loss).into_iter().flat_map(keyed);
    let mut norms = norms.as_deref().into_iter().flat_map(keyed);
    let mut rates = trace
        .series(&Role::LearningRate)
        .into_iter()
        .flat_map(keyed)
        .peekable();
    let (mut loss, mut norm) = (losses.next(), norms.next());
    let (mut learning_rate, mut last_key) = (None, None);
    let mut rows: Vec<Row> = Vec::new();
    let mut keys: Vec<Key> = Vec::new();
    while let Some(key) = [loss, norm].iter().flatten().map(|next| next.0).min() {
        let take = |next: &mut Option<(Key, f64)>, all: &mut dyn Iterator<Item = _>| {
            let found = next.filter(|(at, _)| *at == key).map(|(_, value)| value);
            if found.is_some() {
                *next = all.next();
            }
            found
        };
        let (loss, grad_norm) = (take(&mut loss, &mut losses), take(&mut norm, &mut norms));
        while let Some((_, rate)) = rates.next_if(|(at, _)| *at <= key) {
            learning_rate = Some(rate);
        }
        match rows.last_mut() {
            Some(last) if last_key == Some(key) => {
                last.loss = loss.or(last.loss);
                last.grad_norm = grad_norm.or(last.grad_norm);
            }
            _ => {
                rows.push(Row::new(key.1, loss, grad_norm, learning_rate));
                keys.push(key);
            }
        }
        last_key = Some(key);
    }
    if rows.is_empty() {
        keys = other_keys(trace);
        rows.extend(keys.iter().map(|key| Row::new(key.1, None, None, None)));
    }
    (rows, keys)
}

/// The places of a policy's, a value function's or a part's values.
fn other_keys(trace: &Trace) -> Vec<Key> {
    let others = trace.series.iter().filter(|series| {
        matches!(
            series.role(),
            Role::LossPart(_) | Role::ValueLoss | Role::Kl
        )
    });
    let mut keys: Vec<Key> = others.flat_map(keyed).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Returns the norm of all parameters together, if they were logged in the same rows.
fn of_parameters(trace: &Trace) -> Option<Series> {
    let mut parameters = trace.parameters().map(|(_, series)| series);
    let first = parameters.next()?;
    let mut norms = first.values().to_vec();
    for series in parameters {
        if series.steps() != first.steps() {
            return None;
        }
        for (norm, value) in norms.iter_mut().zip(series.values()) {
            // `hypot` does not overflow, and keeps a NaN.
            *norm = norm.hypot(*value);
        }
    }
    Series::new(Role::GradNorm, "grad_norm/*", first.steps().clone(), norms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::sketch::series;

    /// Step, loss, norm and learning rate.
    type Plain = (u64, Option<f64>, Option<f64>, Option<f64>);

    fn of(series: Vec<Series>) -> Vec<Plain> {
        let trace = Trace {
            series,
            ..Trace::default()
        };
        rows(&trace)
            .0
            .iter()
            .map(|row| (row.step, row.loss, row.grad_norm, row.learning_rate()))
            .collect()
    }

    #[test]
    fn columns_of_different_cadence_are_paired_by_step() {
        let loss = series(Role::Loss, &[0, 1, 2, 3, 4], &[5.0, 4.0, 3.0, 2.0, 1.0]);
        let norm = series(Role::GradNorm, &[0, 2, 5], &[9.0, 8.0, 7.0]);
        let rate = series(Role::LearningRate, &[1, 3], &[0.1, 0.2]);
        assert_eq!(
            of(vec![loss, norm, rate]),
            [
                (0, Some(5.0), Some(9.0), None),
                (1, Some(4.0), None, Some(0.1)),
                (2, Some(3.0), Some(8.0), Some(0.1)),
                (3, Some(2.0), None, Some(0.2)),
                (4, Some(1.0), None, Some(0.2)),
                (5, None, Some(7.0), Some(0.2)),
            ]
        );
    }

    #[test]
    fn restarts_keep_the_order_of_the_log_and_the_last_of_a_step_counts() {
        let loss = series(
            Role::Loss,
            &[0, 1, 2, 1, 2, 2],
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        );
        let norm = series(Role::GradNorm, &[0, 1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let rows = of(vec![loss, norm]);
        let steps: Vec<u64> = rows.iter().map(|row| row.0).collect();
        assert_eq!(steps, [0, 1, 2, 1, 2]);
        assert_eq!(rows[4], (2, Some(6.0), Some(5.0), None));
        assert_eq!(of(vec![]), []);
    }

    #[test]
    fn norms_of_parameters_replace_a_missing_global_norm() {
        let role = |name: &str| Role::ParameterGradNorm(name.into());
        let steps = [0, 1, 2];
        let a = series(role("a"), &steps, &[3.0, 0.0, f64::NAN]);
        let b = series(role("b"), &steps, &[4.0, 0.0, 1.0]);
        let rows = of(vec![a.clone(), b]);
        assert_eq!(rows[0].2, Some(5.0));
        assert_eq!(rows[1].2, Some(0.0));
        assert!(rows[2].2.unwrap().is_nan());
        // Different rows cannot be added up.
        assert_eq!(of(vec![a, series(role("b"), &[0, 1], &[1.0, 1.0])]), []);
    }
}
