use serde::{Deserialize, Serialize};

use crate::guard::error::{GuardConfigError, at_least, between, count};

/// When the ladder goes a rung up, how far, and how it comes down again. Windows and waits are
/// counted in readings.
///
/// Defaults: 5 errors in a row (torchtitan's practice); a tenth of 100 steps skipped; learning rate
/// halved (Keras' ReduceLROnPlateau takes 0.1, too much for something that is undone in 15 steps) at
/// most 4 times, re-warmed from 0.3 after a rollback, at most 5 rollbacks, all within 1,000 readings;
/// 5 harmful losses in a row before a rollback, and 30 after one before a level is taken for a lasting
/// change of the data; 10 calm readings before the learning rate climbs,
/// doubled with every lowering and rollback in the window; then 15 % a reading, so that a re-warm takes
/// 20 steps. Factors, waits and budgets are plausible choices that were tried on the streams of
/// `examples/guard_on_streams.rs` and the faults of the lab, not swept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoverConfig {
    /// Whether a suspicious spike of the gradient norm is clipped.
    pub clip: bool,
    /// Skips in a row before the next rung.
    pub max_consecutive_errors: usize,
    /// Skips within `skip_window` before the learning rate is lowered.
    pub max_skips: usize,
    /// See `max_skips`.
    pub skip_window: usize,
    /// What the learning rate is multiplied by when it is lowered.
    pub lower_factor: f64,
    /// Lowerings within `budget_window`.
    pub max_lowerings: usize,
    /// What the learning rate is multiplied by at a rollback.
    pub rollback_factor: f64,
    /// Rollbacks within `budget_window`; 0 for none.
    pub max_rollbacks: usize,
    /// See `max_lowerings` and `max_rollbacks`.
    pub budget_window: usize,
    /// Harmful losses in a row that mean that the weights are damaged.
    pub loss_patience: usize,
    /// Harmful readings in a row after a rollback before they are taken for the new usual level; up to three
    /// times as many while their losses still rise, since data that get worse are no level yet. As long is waited
    /// for weights that something else than the optimizer writes to.
    pub level_patience: usize,
    /// Calm readings before the learning rate climbs, the first time.
    pub cool_down: usize,
    /// What the learning rate's scale is multiplied by each reading while it climbs.
    pub climb: f64,
    /// The learning rate's scale is not lowered beyond this.
    pub min_scale: f64,
    /// Which states are kept.
    pub snapshots: SnapshotConfig,
}

/// Which states are kept to go back to.
///
/// Defaults: one every 20 readings, three kept. A snapshot is on probation for 8 readings without
/// harm: that is how long a loss spike takes to follow its first sign (StableAdamW, arXiv 2304.13013).
/// A rollback then loses 8 to 28 steps, 18 at the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotConfig {
    /// Readings from one snapshot to the next.
    pub interval: usize,
    /// Readings without harm after a snapshot before it is trusted.
    pub probation: usize,
    /// How many are kept.
    pub kept: usize,
}

impl Default for RecoverConfig {
    fn default() -> Self {
        Self {
            clip: true,
            max_consecutive_errors: 5,
            max_skips: 10,
            skip_window: 100,
            lower_factor: 0.5,
            max_lowerings: 4,
            rollback_factor: 0.3,
            max_rollbacks: 5,
            budget_window: 1000,
            loss_patience: 5,
            level_patience: 30,
            cool_down: 10,
            climb: 1.15,
            min_scale: 1e-3,
            snapshots: SnapshotConfig::default(),
        }
    }
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            interval: 20,
            probation: 8,
            kept: 3,
        }
    }
}

impl RecoverConfig {
    /// The most readings that a window may span; also the bound on what the guard remembers of them.
    const MOST: usize = 1_000_000;

    /// Whether every setting can be used.
    ///
    /// # Errors
    /// Names the first field that cannot.
    pub fn validate(&self) -> Result<(), GuardConfigError> {
        let errors = self.max_consecutive_errors;
        count("recover.max_consecutive_errors", errors, 1, Self::MOST)?;
        count("recover.max_skips", self.max_skips, 1, Self::MOST)?;
        count("recover.skip_window", self.skip_window, 1, Self::MOST)?;
        between("recover.lower_factor", self.lower_factor, 1e-6, 0.999)?;
        count("recover.max_lowerings", self.max_lowerings, 0, Self::MOST)?;
        between("recover.rollback_factor", self.rollback_factor, 1e-6, 1.0)?;
        count("recover.max_rollbacks", self.max_rollbacks, 0, Self::MOST)?;
        count("recover.budget_window", self.budget_window, 1, Self::MOST)?;
        count("recover.loss_patience", self.loss_patience, 1, Self::MOST)?;
        count("recover.level_patience", self.level_patience, 0, Self::MOST)?;
        count("recover.cool_down", self.cool_down, 0, Self::MOST)?;
        at_least("recover.climb", self.climb, 1.001)?;
        between("recover.min_scale", self.min_scale, 1e-12, 1.0)?;
        let SnapshotConfig {
            interval,
            probation,
            kept,
        } = self.snapshots;
        count("recover.snapshots.interval", interval, 1, Self::MOST)?;
        count("recover.snapshots.probation", probation, 0, Self::MOST)?;
        // Two: one on probation and one to go back to meanwhile.
        count("recover.snapshots.kept", kept, 2, 64)
    }
}
