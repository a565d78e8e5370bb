//! The step of each row: named, put together from epoch and batch, from a bar, or the row's number.

use std::sync::Arc;

use steadygrad::trace::{Cadence, StepUnit};

use super::names::is_environment;
use super::rows::{BAR, BAR_TOTAL, EPOCH, POSITION, Rows, STEP, TOTAL};
use crate::cadence::usual_stride;

/// Share of the rows that a kind of step must fit. Some lines of a log are torn.
const FITS: f64 = 0.9;

/// The steps of the rows, what they count, and what a row is.
pub(super) struct Steps {
    pub(super) steps: Arc<[u64]>,
    pub(super) unit: StepUnit,
    pub(super) cadence: Cadence,
    pub(super) note: Option<String>,
}

/// Finds the steps of rows.
pub(super) fn of(rows: &Rows) -> Steps {
    if rows.running && whole(rows, EPOCH) {
        return epochs(rows);
    }
    let name = rows.step.as_deref().unwrap_or_default();
    if whole(rows, STEP) {
        let steps = within_epochs(rows, STEP);
        let environment = is_environment(name);
        let unit = if environment {
            StepUnit::EnvironmentStep
        } else {
            StepUnit::Step
        };
        let iterations = rows
            .names
            .iter()
            .any(|name| name.contains("reward") || name.contains("ep_rew"));
        let cadence = match () {
            () if environment || iterations => Cadence::Unknown,
            () if is_one_an_epoch(rows) => Cadence::Epoch,
            () => stride(&steps),
        };
        return Steps {
            steps,
            unit,
            cadence,
            note: None,
        };
    }
    if whole(rows, POSITION) {
        let steps = within_epochs(rows, POSITION);
        let cadence = stride(&steps);
        return Steps {
            steps,
            unit: StepUnit::Step,
            cadence,
            note: None,
        };
    }
    if let Some(steps) = bars(rows) {
        let cadence = stride(&steps);
        let note = Some("the steps are those of the progress bar between the rows".into());
        return Steps {
            steps,
            unit: StepUnit::Step,
            cadence,
            note,
        };
    }
    if whole(rows, EPOCH) && is_one_an_epoch(rows) {
        return epochs(rows);
    }
    Steps {
        steps: (0..rows.count() as u64).collect(),
        unit: StepUnit::Row,
        cadence: Cadence::Unknown,
        note: Some("no step is printed: rows are numbered from 0".into()),
    }
}

fn epochs(rows: &Rows) -> Steps {
    let values = column(rows, EPOCH);
    let steps = values.map(|epoch| epoch.unwrap_or_default() as u64);
    Steps {
        steps: steps.collect::<Vec<u64>>().into(),
        unit: StepUnit::Epoch,
        cadence: Cadence::Epoch,
        note: None,
    }
}

/// The values of a column, the one before where there is none.
fn column(rows: &Rows, place: usize) -> impl Iterator<Item = Option<f64>> + Clone + use<'_> {
    let values = rows.values(place).map_or(&[][..], |column| &column.values);
    let mut last = None;
    (0..rows.count()).map(move |row| {
        let value = values.get(row).filter(|value| is_whole(**value));
        last = value.copied().or(last);
        last
    })
}

fn is_whole(value: f64) -> bool {
    (0.0..=9e15).contains(&value) && value.fract() == 0.0
}

/// Whether nearly all rows have a whole number in a column, and none a fraction.
fn whole(rows: &Rows, place: usize) -> bool {
    rows.values(place).is_some_and(|column| {
        let whole = column
            .values
            .iter()
            .filter(|value| is_whole(**value))
            .count();
        let fraction = column
            .values
            .iter()
            .any(|value| value.is_finite() && value.fract() != 0.0);
        !fraction && whole as f64 >= FITS * rows.count() as f64
    })
}

/// Whether each row has an epoch of its own.
fn is_one_an_epoch(rows: &Rows) -> bool {
    if !whole(rows, EPOCH) || rows.count() < 2 {
        return whole(rows, EPOCH) && rows.values(POSITION).is_none();
    }
    let epochs: Vec<u64> = column(rows, EPOCH)
        .map(|epoch| epoch.unwrap_or_default() as u64)
        .collect();
    let next = epochs
        .windows(2)
        .filter(|pair| pair[1] == pair[0] + 1)
        .count();
    next as f64 >= FITS * (epochs.len() - 1) as f64
}

/// Steps that begin anew in each epoch, put in a row.
fn within_epochs(rows: &Rows, place: usize) -> Arc<[u64]> {
    let first = column(rows, EPOCH).flatten().min_by(f64::total_cmp);
    let from = first.unwrap_or_default().min(1.0);
    let has_epochs = whole(rows, EPOCH);
    let pairs = || column(rows, EPOCH).zip(column(rows, place));
    let resets = pairs().zip(pairs().skip(1)).filter(|(a, b)| b.1 < a.1);
    let anew = resets
        .clone()
        .filter(|(a, b)| !has_epochs || b.0 > a.0)
        .count();
    let restarts = resets.count() - anew;
    // A named step that goes back without an epoch is a restart.
    let combine = anew > restarts && (has_epochs || place == POSITION);
    let most = column(rows, place).flatten().fold(0.0, f64::max);
    let total = column(rows, TOTAL).flatten().fold(0.0, f64::max);
    // Counted from 1, the last batch of an epoch is its length; from 0, one stride is added.
    let begin: Vec<f64> = column(rows, place).flatten().take(2).collect();
    let rest = match begin[..] {
        [0.0, next] => next.max(1.0),
        [0.0] => 1.0,
        _ => 0.0,
    };
    let length = if total >= most { total } else { most + rest };
    let known = has_epochs && place == POSITION;
    let (mut base, mut last) = (0.0, 0.0);
    let steps = pairs().map(|(epoch, step)| {
        let step = step.unwrap_or_default();
        let epoch = epoch.unwrap_or_default();
        if combine && !has_epochs && step < last {
            base += length;
        }
        last = step;
        match has_epochs && (combine || known) {
            true => (epoch - from).max(0.0) * length + step,
            false => base + step,
        }
    });
    steps.map(|step| step as u64).collect::<Vec<u64>>().into()
}

/// The steps of a progress bar, if they rise evenly from row to row.
fn bars(rows: &Rows) -> Option<Arc<[u64]>> {
    if rows.count() < 2 || !whole(rows, BAR) {
        return None;
    }
    let totals: Vec<f64> = column(rows, BAR_TOTAL).flatten().collect();
    let total = totals.iter().copied().fold(0.0, f64::max);
    let longest = totals.iter().filter(|other| **other == total).count();
    let steps: Vec<u64> = column(rows, BAR)
        .map(|step| step.unwrap_or_default() as u64)
        .collect();
    let mut strides: Vec<u64> = steps
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    let middle = strides.len() / 2;
    let usual = *strides.select_nth_unstable(middle).1;
    let even = strides.iter().filter(|stride| **stride == usual).count();
    let fits = |count: usize, of: usize| count as f64 >= FITS * of as f64;
    let rises = usual > 0 && steps.is_sorted();
    (rises && fits(even, strides.len()) && fits(longest, rows.count())).then(|| steps.into())
}

/// What a row is, from the usual distance between named steps.
fn stride(steps: &[u64]) -> Cadence {
    match usual_stride(steps) {
        None => Cadence::Unknown,
        Some(1) => Cadence::Step,
        Some(many) => Cadence::Steps(many),
    }
}
