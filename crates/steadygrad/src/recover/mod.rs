//! The ladder: from detections to a decision, from the least to the most that is done.
//!
//! 1. **Clip**: a suspicious spike of the gradient norm is scaled back to the largest usual norm.
//! 2. **Skip**: a harmful step is not applied.
//! 3. **Lower the learning rate**: after `max_consecutive_errors` skips in a row, after many skips
//!    in a window, or when norm and loss grow together. The rate climbs back when it is calm.
//! 4. **Roll back**: when the weights are at fault, or when a lower rate did not help. The weights
//!    are at fault when they are lost or jumped, or when the loss is still harmful after
//!    `loss_patience` skips. The learning rate then starts low and climbs. A second rollback before
//!    it was calm restores an older snapshot. Where the user's learning rate rose until the loss
//!    went bad, the snapshot is from before the rise, and no higher rate than its own is applied
//!    while the rise lasts.
//! 5. **Stop**: when the budgets are spent, with a reason that says what was tried. A bad update is
//!    never accepted on giving up.
//!
//! **A lasting change of level is accepted in the end.** Harmful readings do not enter the running
//! scales, so data that change for good would be skipped for ever. A rollback tells such data from
//! damaged weights: a level that is still there after it, finite and `level_patience` times in a
//! row, comes from the data. A level that still gets worse is waited for up to three times as long.
//! The scales then start anew, at the lowered learning rate. Where the adapter takes no snapshots,
//! twice `max_consecutive_errors` in a row are enough, unless weights were seen to be damaged.
//!
//! **That rollback was for nothing, and is taken back.** A trusted snapshot that has the bad losses
//! from its first reading on shows that the data cause them. Where losses alone had spoken against
//! the state that was left, that state is as good and further. Training goes on from it, at its
//! learning rate, if the adapter kept it.
//!
//! **After a rollback one step is left out**, during which the weights should stand still. Where
//! they do not, something other than the optimizer writes to them, which cannot be seen while they
//! are trained. No step is applied until that has ended, and its writes are then rolled back.
//! Writes that go on for three times `level_patience` may be meant, and the weights are trained all
//! the same.
//!
//! Everything is counted in readings, never in the adapter's step numbers, which may go back.

mod act;
mod budget;
mod config;
mod decide;
mod evidence;
#[cfg(test)]
mod golden;
mod ladder;
mod level;
mod need;
mod phase;
mod rate;
mod rung;
mod snapshots;
mod still;
mod streak;

pub use budget::BudgetsLeft;
pub use config::{RecoverConfig, SnapshotConfig};
pub(crate) use ladder::LadderState;
pub use rung::Rung;
pub(crate) use rung::Verdict;
pub(crate) use snapshots::Snapshots;
