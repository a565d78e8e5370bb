use serde::{Deserialize, Serialize};
use steadygrad::guard::GuardSummary;

/// How a guarded run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TrainEnd {
    /// All steps done.
    Completed,
    /// The guard gave up, with this reason; no bad update was applied.
    Stopped {
        /// Why.
        reason: String,
    },
    /// A person stopped it.
    Interrupted,
}

/// One return to an earlier state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The step that was not applied.
    pub at_step: u64,
    /// The step whose state was restored.
    pub to_step: u64,
}

/// What became of a guarded run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// How it ended.
    pub end: TrainEnd,
    /// Steps that were tried: batches drawn.
    pub steps: u64,
    /// Validation metric of the last model; NaN when its predictions are not finite.
    #[serde(with = "steadygrad::float")]
    pub validation_metric: f64,
    /// What the guard did.
    pub guard: GuardSummary,
    /// Every return to an earlier state.
    pub rollbacks: Vec<Rollback>,
    /// The first step at which anything harmful was seen.
    pub first_alarm: Option<u64>,
    /// The first step whose loss or gradient was not finite.
    pub first_non_finite: Option<u64>,
    /// The step that a resumed run went on from.
    pub resumed_at: Option<u64>,
    /// Wall-clock time of this process's part, without the validation.
    #[serde(with = "steadygrad::float")]
    pub seconds: f64,
    /// Of it, what writing snapshots took.
    #[serde(with = "steadygrad::float")]
    pub snapshot_seconds: f64,
}
