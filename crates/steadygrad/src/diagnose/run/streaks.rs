use super::Row;
use crate::detect::RunningScale;

/// Rows that do not stand out and are remembered: the window of the guard's own scales.
const WINDOW: usize = 128;

/// Rows before a finite value can stand out.
const WARMUP: usize = 4;

/// A gradient norm stands out above this many times the median: the margin of the guard's own
/// bound.
const NORM_RATIO: f64 = 4.0;

/// A loss stands out above this many robust deviations: OLMo's SkipStep.
const LOSS_DEVIATIONS: f64 = 6.0;

/// Least deviation of a loss, as a share of its median: the guard's own floor.
const LOSS_FLOOR: f64 = 0.02;

/// Up to this many usual rows in between do not end a streak: a diverging run swings.
const GAP: usize = 3;

/// A stretch of rows that stand out from the rows before: a norm above four times the running
/// median, a loss six robust deviations above it, or a value that is not finite.
///
/// A row that stands out is no fault: healthy runs have such rows. A streak says where something
/// began; a rule decides by other means whether it is a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Streak {
    /// Its first row.
    pub from: usize,
    /// The row after its last.
    pub to: usize,
    /// Median of the gradient norm before the streak; `None` if none was logged.
    pub usual_norm: Option<f64>,
    /// Median of the loss before the streak; `None` if none was logged.
    pub usual_loss: Option<f64>,
    /// Whether it has a value that is not finite.
    pub non_finite: bool,
}

impl Streak {
    /// Returns its rows.
    pub fn rows(&self) -> std::ops::Range<usize> {
        self.from..self.to
    }
}

/// Medians and deviations of the rows that did not stand out.
#[derive(Default)]
struct UsualRows {
    /// The scale of the norm's logarithm.
    norm: RunningScale,
    loss: RunningScale,
}

impl UsualRows {
    fn norm(&self) -> Option<f64> {
        Some(self.norm.spread()?.median.exp())
    }

    fn loss(&self) -> Option<f64> {
        Some(self.loss.spread()?.median)
    }

    fn stands_out(&self, row: &Row) -> bool {
        let norm = row.grad_norm.zip(self.norm());
        let loss = row.loss.zip(self.loss.spread());
        norm.is_some_and(|(norm, median)| norm > NORM_RATIO * median)
            || loss.is_some_and(|(loss, spread)| {
                let sigma = spread.sigma.max(LOSS_FLOOR * spread.median.abs());
                sigma > 0.0 && loss > spread.median + LOSS_DEVIATIONS * sigma
            })
    }

    fn remember(&mut self, row: &Row) {
        if let Some(norm) = row.grad_norm {
            self.norm.push(norm.ln(), WINDOW, WARMUP);
        }
        if let Some(loss) = row.loss {
            self.loss.push(loss, WINDOW, WARMUP);
        }
    }
}

/// Whether the row has a value that is NaN or infinite.
pub(super) fn is_broken(row: &Row) -> bool {
    row.is_part_broken
        || [row.loss, row.grad_norm]
            .into_iter()
            .flatten()
            .any(|value| !value.is_finite())
}

/// Returns all streaks, in the order of the log. A streak that lasts longer than the window is a
/// new level: the rows after it are compared with that level.
pub(super) fn streaks(rows: &[Row]) -> Vec<Streak> {
    let mut usual = UsualRows::default();
    let mut streaks: Vec<Streak> = Vec::new();
    let mut level = 0;
    for (index, row) in rows.iter().enumerate() {
        let broken = is_broken(row);
        if !broken && !usual.stands_out(row) {
            usual.remember(row);
            continue;
        }
        let near = streaks
            .last_mut()
            .filter(|streak| streak.to + GAP > index && streak.to > level);
        match near {
            Some(streak) => {
                streak.to = index + 1;
                streak.non_finite |= broken;
            }
            None => streaks.push(Streak {
                from: index,
                to: index + 1,
                usual_norm: usual.norm(),
                usual_loss: usual.loss(),
                non_finite: broken,
            }),
        }
        let lasts = streaks
            .last()
            .is_some_and(|last| !last.non_finite && last.to - last.from > WINDOW);
        if lasts {
            usual = UsualRows::default();
            level = index + 1;
        }
    }
    streaks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = (f64, f64)>) -> Vec<(usize, usize, bool)> {
        let rows: Vec<Row> = values
            .into_iter()
            .zip(0..)
            .map(|((loss, norm), step)| Row::new(step, Some(loss), Some(norm), None))
            .collect();
        let found = streaks(&rows);
        found
            .iter()
            .map(|streak| (streak.from, streak.to, streak.non_finite))
            .collect()
    }

    #[test]
    fn a_spike_a_divergence_and_a_nan_are_streaks() {
        let calm = || std::iter::repeat_n((1.0, 1.0), 20);
        let spike = calm().chain([(1.0, 50.0)]).chain(calm());
        assert_eq!(of(spike), [(20, 21, false)]);
        let rise = calm().chain((0..10).map(|step| (1.0, 1.5f64.powi(step))));
        // 1.5^4 is the first value above four.
        assert_eq!(of(rise), [(24, 30, false)]);
        let nan = calm().chain([(f64::NAN, 1.0), (1.0, 1.0), (1.0, f64::INFINITY)]);
        assert_eq!(of(nan.chain(calm())), [(20, 23, true)]);
    }

    #[test]
    fn a_new_level_is_one_streak_and_usual_after_it() {
        let calm = std::iter::repeat_n((1.0, 1.0), 20);
        let level = calm.chain(std::iter::repeat_n((1.0, 9.0), 400));
        assert_eq!(of(level), [(20, 149, false)]);
    }

    #[test]
    fn odd_rows() {
        assert_eq!(of([]), []);
        assert_eq!(of([(f64::NAN, f64::NAN)]), [(0, 1, true)]);
        assert_eq!(of(vec![(0.0, 0.0); 50]), []);
        assert_eq!(of((0..50).map(|step| (f64::from(-step), 0.0))), []);
    }
}
