use super::rows::{Key, keyed};
use super::{Row, median};
use crate::trace::{Objective, Role, Trace};

/// A column whose growth is a fault: its values by row, those that are missing left out.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    pub(super) role: Role,
    pub(super) points: Vec<(usize, f64)>,
}

/// Returns the columns that may explode, the one that shows it first in front.
///
/// The losses of two networks are read one by one: the loss of both may hide which one grows.
pub(super) fn signals(trace: &Trace, rows: &[Row], keys: &[Key]) -> Vec<Signal> {
    let of_rows = |role: Role, value: fn(&Row) -> Option<f64>| {
        let points = rows.iter().enumerate();
        let points = points.filter_map(|(index, row)| Some((index, value(row)?)));
        Signal {
            role,
            points: points.collect(),
        }
    };
    let others = trace.series.iter().filter(|series| {
        matches!(
            series.role(),
            Role::LossPart(_) | Role::ValueLoss | Role::Kl
        )
    });
    let others = others.map(|series| {
        let points = keyed(series).filter_map(|(key, value)| {
            let index = keys.binary_search(&key).ok()?;
            Some((index, value))
        });
        Signal {
            role: series.role().clone(),
            points: points.collect(),
        }
    });
    let mut signals = vec![of_rows(Role::GradNorm, |row| row.grad_norm)];
    let loss = of_rows(Role::Loss, |row| row.loss);
    if trace.objective == Objective::Gan {
        signals.extend(others);
        signals.push(loss);
    } else {
        signals.push(loss);
        signals.extend(others);
    }
    signals.retain(|signal| !signal.points.is_empty());
    signals
}

/// Marks the rows in which a part of the loss, or a value function's loss, is not finite from a row
/// to the end of its column: the loss itself may not be in the log, or leave that part out.
pub(super) fn mark_broken(rows: &mut [Row], signals: &[Signal]) {
    for signal in signals {
        if !matches!(signal.role, Role::LossPart(_) | Role::ValueLoss) {
            continue;
        }
        let broken = signal.points.iter().rev();
        for (row, _) in broken.take_while(|(_, value)| !value.is_finite()) {
            rows[*row].is_part_broken = true;
        }
    }
}

/// Whether what an agent earned is higher at the end of the log than around this row.
pub(super) fn reward_rises(trace: &Trace, rows: &[Row], from_row: usize) -> bool {
    let Some(reward) = trace.series(&Role::Reward) else {
        return false;
    };
    let values = reward.values();
    let step = rows.get(from_row).map_or(0, |row| row.step);
    let from = reward.steps().partition_point(|at| *at < step);
    let few = (values.len() / 10).clamp(3, 50);
    let middle = |range: &[f64]| median(range.iter().copied().filter(|value| value.is_finite()));
    let around = &values[from.saturating_sub(few)..(from + few).min(values.len())];
    let last = &values[values.len().saturating_sub(few)..];
    let (Some(before), Some(after)) = (middle(around), middle(last)) else {
        return false;
    };
    let away = median(last.iter().map(|value| (value - after).abs()));
    after - before > away.unwrap_or(0.0)
}
