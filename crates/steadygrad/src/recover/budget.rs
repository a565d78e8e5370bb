use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// When something was done, of which only so much may be done within a window of readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Budget {
    /// The readings at which it was done, oldest first.
    spent: VecDeque<u64>,
}

impl Budget {
    /// Records that it was done at this reading.
    pub(super) fn spend(&mut self, clock: u64) {
        self.spent.push_back(clock);
    }

    /// Forgets what was done `window` readings ago or earlier.
    pub(super) fn forget(&mut self, clock: u64, window: u64) {
        while self
            .spent
            .front()
            .is_some_and(|then| clock.saturating_sub(*then) >= window)
        {
            self.spent.pop_front();
        }
    }

    /// How often it was done in the last `window` readings.
    pub(super) fn within(&self, clock: u64, window: u64) -> usize {
        let recent = |then: &&u64| clock.saturating_sub(**then) < window;
        self.spent.iter().rev().take_while(recent).count()
    }

    /// How often it was done, of what is not forgotten.
    pub(super) fn spent(&self) -> usize {
        self.spent.len()
    }
}

/// How much of each budget is left in the current window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetsLeft {
    /// Skips before the learning rate is lowered.
    pub skips: u64,
    /// Lowerings of the learning rate.
    pub lowerings: u64,
    /// Rollbacks.
    pub rollbacks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_long_ago_are_forgotten() {
        let mut budget = Budget::default();
        for clock in [1, 5, 10] {
            budget.spend(clock);
        }
        assert_eq!((budget.within(10, 6), budget.spent()), (2, 3));
        budget.forget(11, 10);
        assert_eq!(budget.spent(), 2);
        assert_eq!(budget.within(10, 0), 0);
    }
}
