use serde::{Deserialize, Serialize};
use steadygrad::guard::GuardSummary;

/// How a guarded run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum TrainEnd {
    /// All steps are done.
    Completed,
    /// The guard gave up. No bad update was applied.
    Stopped {
        /// The guard's reason.
        reason: String,
    },
    /// The caller cancelled the run.
    Interrupted,
}

/// A return to an earlier state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rollback {
    /// The step that was not applied.
    pub at_step: u64,
    /// The step whose state was restored.
    pub to_step: u64,
}

/// The outcome of a guarded run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainOutcome {
    /// How the run ended.
    pub end: TrainEnd,
    /// Number of attempts, which is the number of batches drawn.
    pub steps: u64,
    /// Validation metric of the last model; NaN if its predictions are not finite.
    #[serde(with = "steadygrad::float")]
    pub validation_metric: f64,
    /// What the guard did.
    pub guard: GuardSummary,
    /// All returns to earlier states, in order.
    pub rollbacks: Vec<Rollback>,
    /// The first step on which the guard acted by more than clipping.
    pub first_alarm: Option<u64>,
    /// The first step whose loss or gradient was not finite.
    pub first_non_finite: Option<u64>,
    /// The step at which a resumed run continued.
    pub resumed_at: Option<u64>,
    /// Wall-clock seconds of training in this process, without the validation.
    #[serde(with = "steadygrad::float")]
    pub seconds: f64,
    /// The seconds of these that writing snapshots took.
    #[serde(with = "steadygrad::float")]
    pub snapshot_seconds: f64,
}
