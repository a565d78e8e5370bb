use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::statistics::median;

/// Losses still rise where this share of the later half is above the median of the earlier half.
/// For weights that stand still, on data of one kind, half are; 12 of 15 are by chance in 2 % of
/// all cases (a sign test).
const RISES: f64 = 0.8;

/// The ladder waits this many times as long for losses or weights that do not come to rest.
pub(super) const MOST_PATIENCES: usize = 3;

/// The bad losses since a rollback.
///
/// They show either a level that may become the usual one, or data that still get worse. A good
/// state must not be trained on the latter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    losses: VecDeque<f64>,
    /// How many there were in all.
    seen: usize,
}

impl Level {
    /// How many losses there were in all.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Remembers a loss, and as many before it as this patience needs.
    pub(super) fn push(&mut self, loss: f64, patience: usize) {
        self.seen = self.seen.saturating_add(1);
        self.losses.push_back(loss);
        while self.losses.len() > 2 * (patience / 2) {
            self.losses.pop_front();
        }
    }

    /// Whether the losses are a level after `waited` readings.
    pub(super) fn stands(&self, waited: usize, patience: usize) -> bool {
        waited > patience
            && (waited > MOST_PATIENCES.saturating_mul(patience) || !self.rises(patience))
    }

    fn rises(&self, patience: usize) -> bool {
        let half = patience / 2;
        if self.losses.len() < 2 * half {
            return false;
        }
        let mut earlier: Vec<f64> = self.losses.iter().take(half).copied().collect();
        let Some(middle) = median(&mut earlier) else {
            return false;
        };
        let later = self.losses.iter().skip(half).take(half);
        let above = later.filter(|loss| **loss > middle).count();
        above as f64 >= RISES * half as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands_after(patience: usize, losses: impl Iterator<Item = f64>) -> Option<usize> {
        let mut level = Level::default();
        losses.enumerate().find_map(|(index, loss)| {
            level.push(loss, patience);
            level.stands(index + 1, patience).then_some(index + 1)
        })
    }

    #[test]
    fn losses_that_stay_are_a_level_and_rising_ones_are_none_until_they_stay() {
        let noise = |index: usize| 1.0 + 0.3 * ((index * 7919) % 11) as f64 / 11.0;
        let stays = (0..100).map(|index| 3.0 * noise(index));
        assert_eq!(stands_after(30, stays), Some(31));
        let falls = (0..100).map(|index| 9.0 * noise(index) / (1.0 + index as f64));
        assert_eq!(stands_after(30, falls), Some(31));
        let rises =
            |until: usize| (0..200).map(move |index| noise(index) * index.min(until) as f64);
        let stood = stands_after(30, rises(50)).unwrap();
        assert!((50..80).contains(&stood), "{stood}");
        // A rise without end is waited for three times as long.
        assert_eq!(
            stands_after(30, (0..200).map(|index| 1.05_f64.powi(index))),
            Some(91)
        );
    }

    #[test]
    fn no_patience_and_odd_losses() {
        assert_eq!(stands_after(0, [1.0].into_iter()), Some(1));
        assert_eq!(stands_after(1, [1.0, 9.0].into_iter()), Some(2));
        let broken = [f64::NAN, f64::INFINITY, -1.0, 0.0]
            .into_iter()
            .cycle()
            .take(30);
        assert!(stands_after(4, broken).is_some_and(|stood| stood <= 13));
    }
}
