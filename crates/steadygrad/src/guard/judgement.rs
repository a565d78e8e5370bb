use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::detect::{Detection, Severity};
use crate::recover::{BudgetsLeft, Rung};

/// What a guard says of one step, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What is to be done.
    pub decision: Decision,
    /// The rung of the ladder that decided it.
    pub rung: Rung,
    /// What the user's learning rate is to be multiplied by, at this step if it is applied and from
    /// now on. Exactly 1 while nothing is wrong.
    pub learning_rate_scale: f64,
    /// What was seen.
    pub detections: Vec<Detection>,
    /// What is left of each rung's budget.
    pub budgets_left: BudgetsLeft,
}

/// A judgement worth a line in the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The adapter's step.
    pub step: u64,
    /// What was decided, and on what grounds.
    #[serde(flatten)]
    pub judgement: Judgement,
}

impl Judgement {
    /// The most severe of what was seen.
    pub fn severity(&self) -> Option<Severity> {
        self.detections.iter().map(|seen| seen.severity).max()
    }

    /// The record of it, when anything was seen or done.
    pub fn incident(&self, step: u64) -> Option<Incident> {
        (self.rung != Rung::Keep || !self.detections.is_empty()).then(|| Incident {
            step,
            judgement: self.clone(),
        })
    }
}
