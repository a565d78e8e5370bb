use serde::{Deserialize, Serialize};

use super::config::SnapshotConfig;
use crate::detect::{DetectorConfig, DetectorState};

/// What the guard knows about a snapshot that the adapter holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// The step that it was taken before.
    step: u64,
    /// Readings without harm since then.
    calm: u64,
    /// Whether it is good from the start: it was taken before any step, so that training cannot
    /// have damaged it, or of the checkpoint that the user resumed from.
    initial: bool,
    /// What the detectors remembered then.
    detectors: DetectorState,
}

/// The snapshots that a rollback can restore.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshots {
    /// Oldest first.
    kept: Vec<Kept>,
    /// The state that the last rollback left. It is on probation when it is restored.
    abandoned: Option<Kept>,
    /// The reading at which the last one was taken or restored.
    last: Option<u64>,
    /// The step that the adapter was asked to go back to, until it answers.
    pending: Option<u64>,
    /// The reading before which the training was resumed without its snapshots.
    resumed: Option<u64>,
}

impl Kept {
    fn is_trusted(&self, config: SnapshotConfig) -> bool {
        self.initial || self.calm >= config.probation as u64
    }
}

impl Snapshots {
    /// Whether another one is due, after `clock` readings.
    pub(crate) fn is_due(&self, config: SnapshotConfig, clock: u64) -> bool {
        self.last
            .is_none_or(|last| clock.saturating_sub(last) >= config.interval as u64)
    }

    /// Adds a snapshot that was taken before this step. A second one of the same step replaces the
    /// first. When there are too many the oldest goes, but never the only trusted one.
    pub(crate) fn add(
        &mut self,
        config: SnapshotConfig,
        step: u64,
        clock: u64,
        detectors: &DetectorState,
    ) {
        self.kept.retain(|kept| kept.step != step);
        self.kept.push(Kept {
            step,
            calm: 0,
            initial: clock == 0 || self.resumed == Some(clock),
            detectors: detectors.clone(),
        });
        self.last = Some(clock);
        while self.kept.len() > config.kept.max(1) {
            let trusted = self.kept.iter().filter(|kept| kept.is_trusted(config));
            let single = trusted.count() == 1;
            let only = |kept: &Kept| single && kept.is_trusted(config);
            let oldest = self.kept.iter().position(|kept| !only(kept)).unwrap_or(0);
            self.kept.remove(oldest);
        }
    }

    /// The step as which the state that a rollback left is kept.
    pub(crate) fn abandoned(&self) -> Option<u64> {
        self.abandoned.as_ref().map(|kept| kept.step)
    }

    /// Keeps the state that a rollback left as that of this step. No other rollback restores it.
    pub(crate) fn keep_abandoned(&mut self, step: u64, detectors: DetectorState) {
        self.abandoned = Some(Kept {
            step,
            calm: 0,
            initial: false,
            detectors,
        });
    }

    /// Forgets the state that a rollback left.
    pub(crate) fn forget_abandoned(&mut self) {
        self.abandoned = None;
    }

    /// Forgets all of them: they are gone with the process that held them.
    pub(crate) fn forget_all(&mut self, clock: u64) {
        *self = Self {
            resumed: Some(clock),
            ..Self::default()
        };
    }

    /// Counts a reading without harm.
    pub(crate) fn count_calm(&mut self) {
        for kept in &mut self.kept {
            kept.calm = kept.calm.saturating_add(1);
        }
    }

    /// The newest trusted one; older than `before`, where there is such a one.
    pub(crate) fn target(&self, config: SnapshotConfig, before: Option<u64>) -> Option<u64> {
        let trusted = || {
            let all = self.kept.iter().rev();
            all.filter(|kept| kept.is_trusted(config))
                .map(|kept| kept.step)
        };
        let older = before.and_then(|before| trusted().find(|step| *step < before));
        older.or_else(|| trusted().next())
    }

    /// The newest trusted one that was trained with no larger learning rate than this.
    pub(crate) fn trained_within(&self, config: SnapshotConfig, rate: f64) -> Option<u64> {
        let within = |kept: &Kept| {
            let largest = DetectorConfig::largest_learning_rate(&kept.detectors);
            largest.is_none_or(|largest| largest <= rate)
        };
        let trusted = |kept: &&Kept| kept.is_trusted(config) && within(kept);
        self.kept.iter().rev().find(trusted).map(|kept| kept.step)
    }

    /// Records that the adapter is asked to go back.
    pub(crate) fn ask(&mut self, step: u64) {
        self.pending = Some(step);
    }

    /// The step that the adapter was asked for and has not answered.
    pub(crate) fn pending(&self) -> Option<u64> {
        self.pending
    }

    /// The adapter restored this step: newer snapshots are of steps that are discarded. Returns
    /// what the detectors remembered then; `None` for an unknown snapshot.
    pub(crate) fn restored(&mut self, step: u64, clock: u64) -> Option<DetectorState> {
        self.pending = None;
        self.last = Some(clock);
        if let Some(taken_up) = self.abandoned.take_if(|kept| kept.step == step) {
            self.kept.push(taken_up);
        }
        let place = self.kept.iter().position(|kept| kept.step == step)?;
        self.kept.truncate(place + 1);
        self.kept.last().map(|kept| kept.detectors.clone())
    }

    /// Forgets a snapshot that cannot be restored.
    pub(crate) fn lost(&mut self, step: u64) {
        self.pending = None;
        self.abandoned.take_if(|kept| kept.step == step);
        self.kept.retain(|kept| kept.step != step);
    }

    /// The steps of all that may still be asked for, oldest first.
    pub(crate) fn steps(&self) -> impl Iterator<Item = u64> {
        let all = self.kept.iter().chain(&self.abandoned);
        all.map(|kept| kept.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: SnapshotConfig = SnapshotConfig {
        interval: 10,
        probation: 2,
        kept: 3,
    };

    fn taken(steps: &[u64], calm_between: usize) -> Snapshots {
        let mut snapshots = Snapshots::default();
        for step in steps {
            snapshots.add(CONFIG, *step, *step, &DetectorState::default());
            (0..calm_between).for_each(|_| snapshots.count_calm());
        }
        snapshots
    }

    fn steps(snapshots: &Snapshots) -> Vec<u64> {
        snapshots.steps().collect()
    }

    #[test]
    fn the_oldest_goes_but_not_the_only_trusted_one() {
        assert_eq!(steps(&taken(&[0, 10, 20, 30], 2)), [10, 20, 30]);
        assert_eq!(steps(&taken(&[0, 10, 20, 30], 0)), [0, 20, 30]);
    }

    #[test]
    fn only_trusted_ones_are_targets() {
        let mut snapshots = taken(&[0, 10, 20], 2);
        snapshots.add(CONFIG, 30, 30, &DetectorState::default());
        assert_eq!(snapshots.target(CONFIG, None), Some(20));
        assert_eq!(snapshots.target(CONFIG, Some(20)), Some(10));
        // None is older: the newest again.
        assert_eq!(snapshots.target(CONFIG, Some(10)), Some(20));
        assert_eq!(Snapshots::default().target(CONFIG, None), None);
        assert_eq!(taken(&[5], 1).target(CONFIG, None), None);
        assert_eq!(taken(&[0], 0).target(CONFIG, None), Some(0));
    }

    #[test]
    fn going_back_discards_newer_ones_and_a_lost_one_is_gone() {
        let mut snapshots = taken(&[10, 20, 30], 2);
        assert!(snapshots.restored(20, 40).is_some());
        assert_eq!(steps(&snapshots), [10, 20]);
        assert!(!snapshots.is_due(CONFIG, 49) && snapshots.is_due(CONFIG, 50));
        assert!(snapshots.restored(99, 40).is_none());
        snapshots.lost(20);
        assert_eq!(steps(&snapshots), [10]);
    }

    #[test]
    fn a_resumed_state_is_trusted_at_its_first_reading_only() {
        let mut snapshots = taken(&[10, 20], 2);
        snapshots.forget_all(25);
        assert!(steps(&snapshots).is_empty());
        assert!(snapshots.is_due(CONFIG, 25));
        let mut late = snapshots.clone();
        snapshots.add(CONFIG, 25, 25, &DetectorState::default());
        assert_eq!(snapshots.target(CONFIG, None), Some(25));
        late.add(CONFIG, 26, 26, &DetectorState::default());
        assert_eq!(late.target(CONFIG, None), None);
    }

    #[test]
    fn a_second_of_the_same_step_replaces_the_first() {
        let mut snapshots = taken(&[10, 20], 2);
        snapshots.add(CONFIG, 20, 60, &DetectorState::default());
        assert_eq!(steps(&snapshots), [10, 20]);
        assert_eq!(snapshots.target(CONFIG, None), Some(10));
    }
}
