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

/// Why a run that did all its steps has no usable model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unusable {
    /// Every step was left out, so the model is untrained.
    NoUpdate,
    /// The last model's predictions are not finite.
    NonFinite,
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

impl TrainOutcome {
    /// Why the last model is of no use; `None` for a model that was trained and predicts numbers.
    pub fn unusable(&self) -> Option<Unusable> {
        let guard = &self.guard;
        let updates = guard.kept + guard.clipped + guard.clipped_by_policy;
        if guard.readings > 0 && updates == 0 {
            return Some(Unusable::NoUpdate);
        }
        self.validation_metric
            .is_nan()
            .then_some(Unusable::NonFinite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: f64, kept: u64, clipped: u64, skipped: u64) -> Option<Unusable> {
        let mut guard = GuardSummary::default();
        (guard.readings, guard.kept) = (kept + clipped + skipped, kept);
        (guard.clipped, guard.skipped) = (clipped, skipped);
        TrainOutcome {
            end: TrainEnd::Completed,
            steps: guard.readings,
            validation_metric: metric,
            guard,
            rollbacks: Vec::new(),
            first_alarm: None,
            first_non_finite: None,
            resumed_at: None,
            seconds: 1.0,
            snapshot_seconds: 0.0,
        }
        .unusable()
    }

    #[test]
    fn a_model_without_an_update_or_with_nan_is_of_no_use() {
        for (metric, kept, clipped, skipped, expected) in [
            (0.9, 3, 0, 0, None),
            (0.9, 0, 3, 0, None),
            (0.1, 0, 0, 3, Some(Unusable::NoUpdate)),
            (f64::NAN, 0, 0, 3, Some(Unusable::NoUpdate)),
            (f64::NAN, 2, 0, 1, Some(Unusable::NonFinite)),
            // No step was planned or made.
            (0.1, 0, 0, 0, None),
        ] {
            assert_eq!(of(metric, kept, clipped, skipped), expected);
        }
    }
}
