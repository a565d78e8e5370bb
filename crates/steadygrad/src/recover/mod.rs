//! The ladder: from detections to a decision, one rung at a time.
//!
//! 1. **Clip**: a suspicious spike of the gradient norm is scaled back to the largest usual norm.
//! 2. **Skip**: a harmful step is not applied.
//! 3. **Lower the learning rate**: after `max_consecutive_errors` skips in a row, after many skips in
//!    a window, or when norm and loss grow together. The rate climbs back when it is calm.
//! 4. **Roll back**: when what is wrong is in the weights (lost or jumped weights, or a loss still
//!    harmful after `loss_patience` skips), or when lowering did not help. Then the learning rate
//!    re-warms from low. A second one before it was calm again goes to an older snapshot.
//!    Where the user's learning rate rose step by step until the loss told, to one from before the rise;
//!    no more is applied then than was good, however far the user's goes on rising.
//! 5. **Stop**: when the budgets are used up, with a reason that says what was tried. A bad update is
//!    never accepted on giving up.
//!
//! **A lasting change of level is accepted in the end.** Harmful readings do not enter the running
//! scales, so a lasting change of the data would be skipped for ever. What tells it from damaged
//! weights is a rollback: what is still there after one, finite and `level_patience` times in a row, is the
//! data's, unless it still gets worse: then it is waited for up to three times as long. The scales then
//! start anew, at the lowered learning rate. Where the adapter takes no snapshots, twice
//! `max_consecutive_errors` in a row do, unless weights were seen to be damaged.
//!
//! **Then the rollback was for nothing, and is taken back.** A snapshot that was trusted and has the bad
//! losses from its first reading on shows that they are the data's. What was left for its losses alone is
//! as good and further, and is gone on from, at the learning rate of then, if the adapter kept it.
//!
//! **After going back, one step is left out.** The weights should stand still meanwhile. Where they do not,
//! something else than the optimizer writes to them, which is not seen while they are trained. Nothing is
//! applied until it has ended, and what it wrote is then gone back from. What goes on for three times
//! `level_patience` may be meant, and is trained with.
//!
//! Everything is counted in readings, never in the adapter's step numbers, which may go back.

mod budget;
mod config;
mod ladder;
mod level;
mod snapshots;
mod still;

pub use budget::{Budget, BudgetsLeft};
pub use config::{RecoverConfig, SnapshotConfig};
pub use ladder::Rung;
pub(crate) use ladder::{LadderState, Verdict};
pub(crate) use snapshots::Snapshots;
