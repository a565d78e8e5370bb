use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::judgement::Judgement;
use crate::Decision;
use crate::detect::Detector;
use crate::recover::Rung;

/// What a guard has done so far, in numbers of readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuardSummary {
    /// All readings.
    pub readings: u64,
    /// Steps applied exactly as without a guard.
    pub kept: u64,
    /// Steps that the user's own clipping changed.
    pub clipped_by_policy: u64,
    /// Steps that the ladder clipped.
    pub clipped: u64,
    /// Steps skipped.
    pub skipped: u64,
    /// Steps not applied, with the learning rate lowered.
    pub lowered: u64,
    /// Rollbacks asked for; see also `failed_rollbacks`.
    pub rolled_back: u64,
    /// Snapshots that could not be restored.
    pub failed_rollbacks: u64,
    /// Lasting changes of level that were accepted.
    pub new_levels: u64,
    /// Stops; more than one when the adapter went on.
    pub stopped: u64,
    /// Readings at which each detector saw something.
    pub detections: BTreeMap<Detector, u64>,
}

impl GuardSummary {
    /// Counts a judgement.
    pub(super) fn count(&mut self, judgement: &Judgement) {
        self.readings += 1;
        let number = match (judgement.rung, &judgement.decision) {
            (Rung::Keep, Decision::Keep) => &mut self.kept,
            (Rung::Keep, _) => &mut self.clipped_by_policy,
            (Rung::Clip, _) => &mut self.clipped,
            (Rung::Skip, _) => &mut self.skipped,
            (Rung::LowerLearningRate, _) => &mut self.lowered,
            (Rung::Rollback, _) => &mut self.rolled_back,
            (Rung::Stop, _) => &mut self.stopped,
        };
        *number += 1;
        for seen in &judgement.detections {
            *self.detections.entry(seen.detector).or_default() += 1;
        }
    }
}
