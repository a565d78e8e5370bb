use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::detect::{Detection, Severity};
use crate::recover::{BudgetsLeft, Rung};

/// What a guard decided about one step, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What to do with the step.
    pub decision: Decision,
    /// How far up the [ladder](crate::recover) the guard went.
    pub rung: Rung,
    /// The factor on the user's learning rate, at this step if it is applied and from now on.
    /// Exactly 1 while nothing is wrong.
    pub learning_rate_scale: f64,
    /// What the detectors saw.
    pub detections: Vec<Detection>,
    /// What is left of each budget.
    pub budgets_left: BudgetsLeft,
}

/// A judgement that is worth a line in the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The adapter's step.
    pub step: u64,
    /// The decision and its evidence.
    #[serde(flatten)]
    pub judgement: Judgement,
}

impl Judgement {
    /// The severity of the most severe detection.
    pub fn severity(&self) -> Option<Severity> {
        self.detections.iter().map(|seen| seen.severity).max()
    }

    /// The record of the judgement, when anything was seen or done.
    pub fn incident(&self, step: u64) -> Option<Incident> {
        (self.rung != Rung::Keep || !self.detections.is_empty()).then(|| Incident {
            step,
            judgement: self.clone(),
        })
    }
}
