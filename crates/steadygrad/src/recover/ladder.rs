use serde::{Deserialize, Serialize};

use super::budget::{Budget, BudgetsLeft};
use super::config::RecoverConfig;
use super::evidence::Evidence;
use super::phase::Phase;
use super::rate::{News, Rate};
use super::snapshots::Snapshots;
use super::streak::Streak;
use crate::detect::{Detector, Severity};

/// Where on the ladder a run stands.
///
/// Its files: `phase` is the state machine, `streak` counts readings in a row, `rate` holds the
/// learning rate. `need` reads all of it and says what a harmful reading asks for, `act` carries
/// that out, and `decide` is the way of one reading through both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LadderState {
    /// Readings so far.
    pub(super) clock: u64,
    pub(super) phase: Phase,
    pub(super) streak: Streak,
    pub(super) rate: Rate,
    /// Whether weights were seen to be damaged, and it has not been calm since.
    pub(super) damaged: bool,
    /// Whether the user writes to the weights on purpose: no rollback waits for them to stand
    /// still.
    pub(super) is_written_to: bool,
    /// The scale of the learning rate before the last rollback, while that rollback is in doubt:
    /// only losses spoke against the state that it left. Where the snapshot, which was trusted, has
    /// the same losses from its first reading on, the data cause them, and the state that was left
    /// is as good and further.
    pub(super) doubt: Option<f64>,
    pub(super) skips: Budget,
    pub(super) lowerings: Budget,
    pub(super) rollbacks: Budget,
}

impl LadderState {
    /// Readings so far.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// The factor on the user's learning rate.
    pub(crate) fn scale(&self) -> f64 {
        self.rate.scale()
    }

    /// Why the run was stopped.
    pub(crate) fn stopped(&self) -> Option<&str> {
        match &self.phase {
            Phase::Stopped { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether it changes nothing of what the user does.
    pub(crate) fn is_at_rest(&self) -> bool {
        let trains = matches!(self.phase, Phase::Training | Phase::Retrying { .. });
        trains && self.rate.is_users_own()
    }

    /// Whether the last readings were calm enough to trust the state they left.
    pub(crate) fn is_calm(&self, config: &RecoverConfig) -> bool {
        self.clock == 0 || self.streak.calm >= config.loss_patience as u64
    }

    /// The snapshot that a rollback would ask for now.
    pub(crate) fn last_good(&self, config: &RecoverConfig, snapshots: &Snapshots) -> Option<u64> {
        snapshots.target(config.snapshots, self.phase.back_at())
    }

    /// Whether the state that the last rollback left may have been a good one.
    pub(crate) fn has_abandoned(&self) -> bool {
        self.doubt.is_some()
    }

    /// What is left of each budget in its window.
    pub(crate) fn budgets_left(&self, config: &RecoverConfig) -> BudgetsLeft {
        let left = |most: usize, spent: usize| most.saturating_sub(spent) as u64;
        BudgetsLeft {
            skips: left(config.max_skips, self.recent_skips(config)),
            lowerings: left(config.max_lowerings, self.lowerings.spent()),
            rollbacks: left(config.max_rollbacks, self.rollbacks.spent()),
        }
    }

    /// How many steps were skipped within the window.
    pub(super) fn recent_skips(&self, config: &RecoverConfig) -> usize {
        self.skips.within(self.clock, config.skip_window as u64)
    }

    /// Whether the learning rate was lowered within the window of the skips.
    pub(super) fn has_lowered(&self, config: &RecoverConfig) -> bool {
        self.lowerings.within(self.clock, config.skip_window as u64) > 0
    }

    /// Counts a reading; budgets that were spent long ago are whole again.
    pub(crate) fn tick(&mut self, config: &RecoverConfig) {
        self.clock = self.clock.saturating_add(1);
        self.skips.forget(self.clock, config.skip_window as u64);
        for budget in [&mut self.lowerings, &mut self.rollbacks] {
            budget.forget(self.clock, config.budget_window as u64);
        }
    }

    /// Takes the user's learning rate of a reading, before anything is judged. Returns whether the
    /// ladder deals with it, so that it is no news to the detectors.
    pub(crate) fn follow(&mut self, learning_rate: f64) -> bool {
        let news = self.rate.follow(learning_rate);
        if news == News::RisesOn {
            self.streak.disturb();
        }
        news != News::Unjudged
    }

    /// Counts a harmful reading.
    pub(super) fn count_harm(&mut self, config: &RecoverConfig, seen: Evidence<'_>) {
        self.streak.count_harmful(seen);
        let bad = seen.harmful(Detector::LossSpike);
        if let Some(bad) = bad.or(seen.harmful(Detector::LossRelapse)) {
            self.phase.push_loss(bad.value, config.level_patience);
        }
        self.damaged |= seen.has(Severity::Damage);
    }

    /// Ends the doubt about the last rollback: it was right, or that cannot be told any more.
    pub(crate) fn abandon_for_good(&mut self, snapshots: &mut Snapshots) {
        self.doubt = None;
        snapshots.forget_abandoned();
    }

    /// The adapter went back to this step, before which the user's largest learning rate was
    /// `largest`.
    pub(crate) fn rolled_back(&mut self, step: u64, largest: Option<f64>) {
        self.phase.go_back(step, !self.is_written_to);
        self.streak = Streak::default();
        self.damaged = false;
        if self.rate.go_back(largest) {
            // The rate is to blame, not the data: nothing was trained with it.
            self.doubt = None;
        }
    }

    /// The adapter restored the state that the last rollback had left: all is as it was before that
    /// rollback, but at a new level.
    pub(crate) fn took_up(&mut self) {
        self.doubt = None;
        self.rate.forget_rise();
        self.phase.settle();
        self.streak = Streak::default();
        self.skips = Budget::default();
    }
}
