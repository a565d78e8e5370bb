use serde::{Deserialize, Serialize};

use crate::setting::{SettingError, at_least, between, count};

/// When the [ladder](crate::recover) does more, how much more, and when it does less again.
///
/// Windows and waits are counted in readings. Defaults:
///
/// - skips: 5 in a row (torchtitan's practice), or 10 within 100 readings;
/// - learning rate: halved, at most 4 times within 1,000 readings. Keras' ReduceLROnPlateau takes
///   0.1, which is too much for a change that is undone in 15 steps;
/// - rollbacks: at most 5 within 1,000 readings, after 5 harmful losses in a row. The learning rate
///   starts again from 0.3 of itself;
/// - a lasting change of the data: 30 readings after a rollback;
/// - the way back: 10 calm readings before the learning rate climbs, twice as many with every
///   lowering and rollback in the window. Then 15 % a reading, so that it climbs for 20 steps after
///   a rollback.
///
/// Factors, waits and budgets are plausible choices. They were tried on the streams of
/// `examples/guard_on_streams.rs` and on the faults of the lab, not swept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RecoverConfig {
    /// Whether a suspicious spike of the gradient norm is clipped.
    pub clip: bool,
    /// Skips in a row before more is done.
    pub max_consecutive_errors: usize,
    /// Skips within `skip_window` before the learning rate is lowered.
    pub max_skips: usize,
    /// See `max_skips`.
    pub skip_window: usize,
    /// Factor on the learning rate each time it is lowered.
    pub lower_factor: f64,
    /// How often the learning rate is lowered within `budget_window`.
    pub max_lowerings: usize,
    /// Factor on the learning rate at a rollback.
    pub rollback_factor: f64,
    /// Rollbacks within `budget_window`; 0 for none.
    pub max_rollbacks: usize,
    /// See `max_lowerings` and `max_rollbacks`.
    pub budget_window: usize,
    /// Harmful losses in a row that mean that the weights are damaged.
    pub loss_patience: usize,
    /// Harmful readings in a row after a rollback before their level is accepted as the usual one.
    /// Up to three times as many while their losses still rise, since data that get worse are no
    /// level yet. Weights that something other than the optimizer writes to are waited for as long.
    pub level_patience: usize,
    /// Calm readings before the learning rate climbs, the first time.
    pub cool_down: usize,
    /// Factor on the learning rate's scale at each reading while it climbs.
    pub climb: f64,
    /// The learning rate's scale is not lowered beyond this.
    pub min_scale: f64,
    /// Which states are kept.
    pub snapshots: SnapshotConfig,
}

/// Which states are kept for a rollback.
///
/// Defaults: one every 20 readings, three kept. A snapshot is on probation for 8 readings without
/// harm: a loss spike follows its first sign within 8 steps (StableAdamW, arXiv 2304.13013). A
/// rollback then loses 8 to 28 steps, 18 at the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
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

impl SnapshotConfig {
    fn validate(&self) -> Result<(), SettingError> {
        count("interval", self.interval, 1, RecoverConfig::MOST)?;
        count("probation", self.probation, 0, RecoverConfig::MOST)?;
        // Two: one on probation, and one to go back to meanwhile.
        count("kept", self.kept, 2, 64)
    }
}

impl RecoverConfig {
    /// The most readings that a window may span, and that the guard remembers.
    const MOST: usize = 1_000_000;

    /// Checks every setting against its allowed range.
    ///
    /// # Errors
    /// Names the first field outside its range.
    pub fn validate(&self) -> Result<(), SettingError> {
        let errors = self.max_consecutive_errors;
        count("max_consecutive_errors", errors, 1, Self::MOST)?;
        count("max_skips", self.max_skips, 1, Self::MOST)?;
        count("skip_window", self.skip_window, 1, Self::MOST)?;
        between("lower_factor", self.lower_factor, 1e-6, 0.999)?;
        count("max_lowerings", self.max_lowerings, 0, Self::MOST)?;
        between("rollback_factor", self.rollback_factor, 1e-6, 1.0)?;
        count("max_rollbacks", self.max_rollbacks, 0, Self::MOST)?;
        count("budget_window", self.budget_window, 1, Self::MOST)?;
        count("loss_patience", self.loss_patience, 1, Self::MOST)?;
        count("level_patience", self.level_patience, 0, Self::MOST)?;
        count("cool_down", self.cool_down, 0, Self::MOST)?;
        at_least("climb", self.climb, 1.001)?;
        between("min_scale", self.min_scale, 1e-12, 1.0)?;
        let snapshots = self.snapshots.validate();
        snapshots.map_err(|error| error.within("snapshots"))
    }
}
