use super::median;
use crate::statistics::SIGMA_PER_MAD;

/// Rows that say what is usual. Growth too slow to show against so many shows against more.
const WINDOWS: [usize; 4] = [32, 128, 512, 2048];

/// A value this far above its usual, or three deviations where they are larger, has left it.
const ABOVE: f64 = 1.5;

/// Deviations above the usual.
const DEVIATIONS: f64 = 3.0;

/// Growth by less than this is not looked at.
const LEAST: f64 = 3.0;

/// Two values are a growth if each is this many times the one before.
const LEAP: f64 = 10.0;

/// The least rows of a growth that does not end in NaN.
const LEAST_ROWS: usize = 3;

/// A first row that has this share of the whole growth, in logarithms, is a jump.
const JUMP: f64 = 0.8;

/// Rows before a growth that make it one from a calm course.
pub(super) const CALM: usize = 8;

/// A column that had settled, to less than this share of its later growth a row, begins anew.
const FASTER: f64 = 3.0;

/// The deviation of the difference between two medians of eight values, over that of a value:
/// `1.25 * sqrt(2 / 8)`.
const MEDIAN_NOISE: f64 = 0.625;

/// Points at which the beginning is looked for: a log of a million rows has as many.
const MOST: usize = 20_000;

/// How a column grew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    pub(super) from_row: usize,
    pub(super) to_row: usize,
    /// The usual value before.
    pub(super) from: f64,
    /// The largest value.
    pub(super) to: f64,
    /// The usual of the last three values.
    pub(super) last: f64,
    /// Whether the last third of the growth has a fair share of it: it has not settled.
    pub(super) is_steady: bool,
    /// Whether there were rows before it that say what is usual.
    pub(super) is_from_calm: bool,
}

/// Finds a growth that lasts to this row. The values' magnitude counts; values that are not finite,
/// or 0, are left out.
///
/// Its beginning is the first row from which on every value is well above the median of the rows
/// before. At least half of the growth, in logarithms, is still there at the end. `None` for a
/// jump, where `is_by_step` says that a row is one step: something other than growth made it.
pub(super) fn growth(
    points: &[(usize, f64)],
    end: usize,
    is_open: bool,
    is_by_step: bool,
) -> Option<Growth> {
    let logs: Vec<(usize, f64)> = points
        .iter()
        .filter(|(row, value)| *row < end && value.is_finite() && *value != 0.0)
        .map(|(row, value)| (*row, value.abs().ln()))
        .collect();
    let count = logs.len();
    logs.last()?;
    let lowest = logs
        .chunks(CALM)
        .filter_map(middle)
        .fold(f64::INFINITY, f64::min);
    if end_of(&logs, false) - lowest.min(logs[0].1) < LEAST.ln() {
        return None;
    }
    // The lowest value from each point on.
    let mut floors = vec![f64::INFINITY; count];
    let mut floor = f64::INFINITY;
    for index in (0..count).rev() {
        floor = floor.min(logs[index].1);
        floors[index] = floor;
    }
    WINDOWS.iter().find_map(|window| {
        let found = beginnings(&logs, &floors, *window);
        let mut latest = found.into_iter().rev();
        latest.find_map(|found| whole(&logs, found, is_open, is_by_step))
    })
}

/// The point where the growth begins, and the usual before it.
type Beginning = (usize, f64);

/// The first point from which on all values are above what was usual before it, and grow. After it
/// any such point before which the column had settled, to grow again.
fn beginnings(logs: &[(usize, f64)], floors: &[f64], window: usize) -> Vec<Beginning> {
    let stride = logs.len().div_ceil(MOST).max(1);
    let end = end_of(logs, false);
    let mut found: Vec<Beginning> = Vec::new();
    let mut was_above = false;
    for index in (1..logs.len()).step_by(stride) {
        let before = &logs[index.saturating_sub(window)..index];
        let usual = middle(before).unwrap_or(f64::INFINITY);
        let is_above = floors[index] > usual + ABOVE.ln()
            && end - usual >= LEAST.ln()
            && floors[index] > usual + DEVIATIONS * deviation(before);
        if is_above && !was_above {
            let now = (end - usual) / (logs.len() - index) as f64;
            let is_anew = end - usual >= LEAP.ln() && has_settled(&logs[..index], now / FASTER);
            if found.is_empty() || is_anew {
                found.push((index, usual));
            }
        }
        was_above = is_above;
    }
    found
}

/// Whether the last rows grow by less than this a row, in logarithms.
fn has_settled(logs: &[(usize, f64)], rate: f64) -> bool {
    let Some(from) = logs.len().checked_sub(2 * CALM) else {
        return false;
    };
    let (early, late) = logs[from..].split_at(CALM);
    // Medians of so many rows differ by this much by chance, two deviations in all.
    let chance = 2.0 * MEDIAN_NOISE * deviation(&logs[from..]);
    let growth = middle(early).zip(middle(late));
    growth.is_some_and(|(early, late)| late - early + chance < rate * CALM as f64)
}

/// Walks back from a point far above the usual to where the growth left it: a slow growth takes
/// the usual of many rows with it.
fn first_of(logs: &[(usize, f64)], (mut index, mut usual): Beginning) -> Beginning {
    loop {
        let before = &logs[index.saturating_sub(2 * CALM)..index];
        let Some(level) = middle(before).map(|level| level.min(usual)) else {
            return (index, usual);
        };
        let margin = 0.5 * ABOVE.ln().max(DEVIATIONS * deviation(before));
        let away = before.iter().rev();
        let back = away.take_while(|(_, log)| *log > level + margin).count();
        if back == 0 {
            return (index, level);
        }
        (index, usual) = (index - back, level);
    }
}

/// The value at the end: the usual of the last three, or the last one where they only rise.
fn end_of(logs: &[(usize, f64)], is_open: bool) -> f64 {
    let last = &logs[logs.len().saturating_sub(LEAST_ROWS)..];
    if !is_open || last.is_sorted_by(|a, b| a.1 <= b.1) {
        return largest(last);
    }
    middle(last).unwrap_or(f64::NEG_INFINITY)
}

fn whole(
    logs: &[(usize, f64)],
    found: Beginning,
    is_open: bool,
    is_by_step: bool,
) -> Option<Growth> {
    let (from, usual) = first_of(logs, found);
    let stretch = &logs[from..];
    let top = largest(stretch);
    let to = stretch.iter().position(|(_, log)| *log == top)?;
    let all = top - usual;
    let last = end_of(stretch, is_open);
    let leaps = stretch.len() >= 2
        && stretch[0].1 - usual >= LEAP.ln()
        && stretch
            .windows(2)
            .all(|pair| pair[1].1 - pair[0].1 >= LEAP.ln());
    let enough = match (is_by_step, is_open) {
        (_, true) => stretch.len() >= LEAST_ROWS,
        (true, false) => stretch.len() >= LEAST_ROWS || leaps,
        (false, _) => stretch.len() >= LEAST_ROWS || all >= LEAP.ln(),
    };
    let is_jump = is_by_step && stretch[0].1 - usual > JUMP * all && !leaps;
    let stays = last - usual >= 0.5 * all || stretch.len() < LEAST_ROWS;
    if !enough || is_jump || !stays {
        return None;
    }
    let third = stretch.len() * 2 / 3;
    let at_third = middle(&stretch[third.saturating_sub(1)..(third + 2).min(stretch.len())])?;
    Some(Growth {
        from_row: stretch[0].0,
        to_row: stretch[to].0,
        from: usual.exp(),
        to: top.exp(),
        last: last.exp(),
        is_steady: last.max(stretch[stretch.len() - 1].1) - at_third >= all / 6.0,
        is_from_calm: from >= CALM,
    })
}

fn largest(logs: &[(usize, f64)]) -> f64 {
    logs.iter()
        .map(|(_, log)| *log)
        .fold(f64::NEG_INFINITY, f64::max)
}

fn middle(logs: &[(usize, f64)]) -> Option<f64> {
    median(logs.iter().map(|(_, log)| *log))
}

/// The deviation of the values from their own course: that of the differences of neighbours, which
/// a slow growth hardly changes. 0 for a single value.
fn deviation(logs: &[(usize, f64)]) -> f64 {
    let differences = logs.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs());
    let middle = median(differences).unwrap_or(0.0);
    SIGMA_PER_MAD * middle / std::f64::consts::SQRT_2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::sketch::noise;

    fn of(values: impl IntoIterator<Item = f64>, is_by_step: bool) -> Option<Growth> {
        let points: Vec<(usize, f64)> = values.into_iter().enumerate().collect();
        growth(&points, points.len(), true, is_by_step)
    }

    fn calm(rows: usize) -> impl Iterator<Item = f64> {
        (0..rows).map(|row| 1.0 + 0.2 * noise(row))
    }

    #[test]
    fn growth_begins_where_it_begins_however_slow() {
        for (rate, rows, within) in [
            (1.005, 3000, 300),
            (1.05, 560, 20),
            (1.6, 40, 3),
            (30.0, 5, 2),
        ] {
            let grown =
                (0..rows).map(|row| f64::powi(rate, row) * (1.0 + 0.2 * noise(row as usize)));
            let found = of(calm(100).chain(grown), true).unwrap();
            assert!(
                (98..100 + within).contains(&found.from_row),
                "{rate}: {found:?}"
            );
            assert!(found.is_steady && found.is_from_calm);
        }
        let from_the_first = of((0..14).map(|row| 0.02 * 4.5f64.powi(row)), false).unwrap();
        assert!(from_the_first.from_row <= 1, "{from_the_first:?}");
    }

    #[test]
    fn growth_after_a_rise_that_settled_begins_after_it() {
        let rise = (0..40).map(|row| 1e-3 * (1.0 - (-f64::from(row) / 6.0).exp()) + 1e-5);
        let grown = (0..20).map(|row| 1e-3 * 2f64.powi(row));
        let found = of(rise.chain(grown), true).unwrap();
        assert!((38..44).contains(&found.from_row), "{found:?}");
    }

    #[test]
    fn growth_that_ends_in_nan_may_leap_at_its_end() {
        let noisy = |row: usize, value: f64| value * (1.2 * noise(row)).exp();
        let values = (0..100)
            .map(|row| noisy(row, 0.3))
            .chain((0..14).map(|row| noisy(row, 0.3 * 1.6f64.powi(row as i32))))
            .chain([900.0, 3e9, f64::NAN]);
        let points: Vec<(usize, f64)> = values.enumerate().collect();
        let found = growth(&points, 116, false, true).unwrap();
        assert!((95..114).contains(&found.from_row), "{found:?}");
    }

    #[test]
    fn what_comes_back_jumps_or_settles_is_told_apart() {
        assert_eq!(of(calm(300), true), None);
        assert_eq!(
            of(calm(50).chain([1e3, 1e6, 1e4]).chain(calm(50)), true),
            None
        );
        let jump = || calm(50).chain(calm(50).map(|value| 1e3 * value));
        assert_eq!(of(jump(), true), None);
        assert!(of(jump(), false).is_some());
        let settles = (0..300).map(|row| 1e3 * (1.0 - (-f64::from(row) / 20.0).exp()) + 1e-2);
        let settled = of(settles, true);
        assert!(settled.is_none_or(|found| !found.is_steady && !found.is_from_calm));
    }

    #[test]
    fn odd_columns_have_none() {
        for odd in [0.0, f64::NAN, f64::INFINITY, -1.0, 1e-300] {
            assert_eq!(of([odd; 40], true), None);
        }
        assert_eq!(of([], true), None);
        assert_eq!(of([3.0], false), None);
    }
}
