use serde::{Deserialize, Serialize};

use crate::Decision;

/// What the ladder does about a reading, from the least to the most.
///
/// The enum is closed, as [`Decision`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Nothing: the step is applied as the user's own clipping leaves it.
    Keep,
    /// The gradients are scaled back to the largest usual norm.
    Clip,
    /// The step is not applied.
    Skip,
    /// The step is not applied, and the learning rate is lower from now on.
    LowerLearningRate,
    /// A snapshot is restored.
    Rollback,
    /// The run ends.
    Stop,
}

/// What the ladder decided about one reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) rung: Rung,
    /// `None` at [`Rung::Keep`], where the user's own clipping decides.
    pub(crate) decision: Option<Decision>,
    /// Whether the level of this reading is accepted as the new usual level.
    pub(crate) new_level: bool,
}

impl Verdict {
    pub(crate) const KEEP: Self = Self {
        rung: Rung::Keep,
        decision: None,
        new_level: false,
    };

    pub(crate) fn of(rung: Rung, decision: Decision) -> Self {
        Self {
            rung,
            decision: Some(decision),
            ..Self::KEEP
        }
    }

    pub(super) fn skip(reason: String) -> Self {
        Self::of(Rung::Skip, Decision::Skip { reason })
    }

    pub(super) fn roll_back(to_step: u64, reason: String) -> Self {
        Self::of(Rung::Rollback, Decision::Rollback { to_step, reason })
    }

    pub(crate) fn stop(reason: String) -> Self {
        Self::of(Rung::Stop, Decision::Stop { reason })
    }

    /// The same verdict; the level of its reading is the usual one from now on.
    pub(super) fn with_new_level(self) -> Self {
        Self {
            new_level: true,
            ..self
        }
    }
}
