use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::statistics::{SIGMA_PER_MAD, median};

/// Where a quantity usually lies: the last values that were accepted.
///
/// They are kept in the order seen and in the order of size, so that median and spread need no
/// sorting and no memory at a step.
///
/// Median and MAD (median absolute deviation), because outliers drag a mean and a standard
/// deviation along. These two move far only when half of the window is bad.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(crate) struct RunningScale {
    /// Oldest first.
    recent: VecDeque<f64>,
    /// Smallest first.
    sorted: Vec<f64>,
    /// Median of the warm-up: the scale at which the run began.
    start: Option<f64>,
}

/// A [`RunningScale`] as saved; the order of size follows from it.
#[derive(Serialize, Deserialize)]
struct Saved {
    recent: VecDeque<f64>,
    start: Option<f64>,
}

impl From<Saved> for RunningScale {
    fn from(Saved { mut recent, start }: Saved) -> Self {
        recent.retain(|value| value.is_finite());
        let mut sorted: Vec<f64> = recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            recent,
            sorted,
            start,
        }
    }
}

impl From<RunningScale> for Saved {
    fn from(scale: RunningScale) -> Self {
        Self {
            recent: scale.recent,
            start: scale.start,
        }
    }
}

/// Where a quantity usually lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Median of the window.
    pub(crate) median: f64,
    /// `1.4826 MAD`: the standard deviation, were the values normal.
    pub(crate) sigma: f64,
    /// Largest value of the window.
    pub(crate) max: f64,
    /// Median of the warm-up.
    pub(crate) start: f64,
}

impl RunningScale {
    /// No value yet.
    pub(crate) const EMPTY: Self = Self {
        recent: VecDeque::new(),
        sorted: Vec::new(),
        start: None,
    };

    /// Remembers a value; NaN and infinite ones are not remembered.
    pub(crate) fn push(&mut self, value: f64, window: usize, warmup: usize) {
        if !value.is_finite() {
            return;
        }
        self.sorted.insert(self.place(value), value);
        self.recent.push_back(value);
        while self.recent.len() > window.max(1) {
            if let Some(oldest) = self.recent.pop_front() {
                let place = self.place(oldest);
                if place < self.sorted.len() {
                    self.sorted.remove(place);
                }
            }
        }
        if self.start.is_none() && self.recent.len() >= warmup.max(1) {
            self.start = self.median();
        }
    }

    /// Where the values lie; `None` during the warm-up.
    pub(crate) fn spread(&self) -> Option<Spread> {
        Some(Spread {
            median: self.median()?,
            sigma: SIGMA_PER_MAD * self.mad()?,
            max: *self.sorted.last()?,
            start: self.start?,
        })
    }

    /// Median (the upper of two) and deviation (`1.4826 MAD`) of the last `count` values; `None`
    /// while there are fewer.
    pub(crate) fn of_last(&self, count: usize) -> Option<(f64, f64)> {
        let from = self.recent.len().checked_sub(count)?;
        let mut last: Vec<f64> = self.recent.iter().skip(from).copied().collect();
        let middle = median(&mut last)?;
        for value in &mut last {
            *value = (*value - middle).abs();
        }
        Some((middle, SIGMA_PER_MAD * median(&mut last)?))
    }

    /// The first place at which the value could stand.
    fn place(&self, value: f64) -> usize {
        self.sorted
            .partition_point(|other| other.total_cmp(&value).is_lt())
    }

    /// Median of the window, the mean of two middle values.
    fn median(&self) -> Option<f64> {
        let middle = self.sorted.len() / 2;
        let above = *self.sorted.get(middle)?;
        if self.sorted.len() % 2 == 1 {
            return Some(above);
        }
        let below = *self.sorted.get(middle.checked_sub(1)?)?;
        Some(f64::midpoint(below, above))
    }

    /// Median of the distances from the median, the upper of two.
    ///
    /// The values are in order, so the distances are two lists in order, below and above the
    /// median. A bisection finds how many of the smallest half are in each.
    fn mad(&self) -> Option<f64> {
        let median = self.median()?;
        let split = self.sorted.partition_point(|value| *value < median);
        let below = |at: usize| Some(median - self.sorted.get(split.checked_sub(at + 1)?)?);
        let above = |at: usize| Some(self.sorted.get(split + at)? - median);
        let half = self.sorted.len() / 2;
        // How many of the half are below the median: from `low` to `high`.
        let mut low = half.saturating_sub(self.sorted.len() - split);
        let mut high = half.min(split);
        while low < high {
            let middle = usize::midpoint(low, high);
            // The next one below belongs to the half if it is nearer than the last one above.
            if below(middle)? < above(half - middle - 1)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match (below(low), above(half - low)) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scale(values: &[f64], window: usize) -> RunningScale {
        let mut scale = RunningScale::default();
        for value in values {
            scale.push(*value, window, 3);
        }
        scale
    }

    #[test]
    fn by_hand() {
        let spread = scale(&[5.0, 1.0, 2.0, 9.0, 4.0], 4).spread().unwrap();
        // Of 1, 2, 4, 9: distances from 3 are 1, 1, 2, 6. The warm-up was 5, 1, 2.
        assert_eq!((spread.median, spread.max, spread.start), (3.0, 9.0, 2.0));
        assert_eq!(spread.sigma, 2.0 * SIGMA_PER_MAD);
    }

    #[test]
    fn warm_up_empty_equal_and_non_finite_rows() {
        assert_eq!(scale(&[], 4).spread(), None);
        assert_eq!(
            scale(&[1.0, f64::NAN, 2.0, f64::INFINITY], 4).spread(),
            None
        );
        let equal = scale(&[0.0, -0.0, 0.0, 0.0, -0.0], 3).spread().unwrap();
        assert_eq!((equal.median, equal.sigma), (0.0, 0.0));
        assert_eq!(scale(&[1.0, 2.0, 3.0], 0).recent.len(), 1);
    }

    #[test]
    fn of_the_last_alone() {
        let scale = scale(&[100.0, 100.0, 1.0, 9.0, 4.0, 2.0, 3.0], 7);
        // Of 1, 2, 3, 4, 9: distances from 3 are 2, 1, 0, 1, 6.
        assert_eq!(scale.of_last(5), Some((3.0, SIGMA_PER_MAD)));
        assert_eq!(scale.of_last(8), None);
        assert_eq!(scale.of_last(0), None);
        assert_eq!(RunningScale::default().of_last(1), None);
    }

    proptest! {
        /// Against sorting anew each time, and through JSON; the whole numbers bring equal values.
        #[test]
        fn equals_brute_force(
            values in prop::collection::vec(
                prop_oneof![-1e3..1e3f64, (-4i32..4).prop_map(f64::from)],
                3..60,
            ),
            window in 3usize..20,
        ) {
            let scale = scale(&values, window);
            let mut last: Vec<f64> = values.iter().rev().take(window).copied().collect();
            last.sort_by(f64::total_cmp);
            let mid = last.len() / 2;
            let median = if last.len() % 2 == 1 {
                last[mid]
            } else {
                f64::midpoint(last[mid - 1], last[mid])
            };
            let mut distances: Vec<f64> = last.iter().map(|value| (value - median).abs()).collect();
            distances.sort_by(f64::total_cmp);
            let spread = scale.spread().unwrap();
            prop_assert_eq!(spread.median, median);
            prop_assert_eq!(spread.sigma, SIGMA_PER_MAD * distances[last.len() / 2]);
            prop_assert_eq!(spread.max, last[last.len() - 1]);
            let text = serde_json::to_string(&scale).unwrap();
            let read: RunningScale = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, scale);
        }
    }
}
