use serde::{Deserialize, Serialize};

use super::level::Level;
use super::still::Still;

/// Where a run stands between two rollbacks.
///
/// ```text
///             rolled back             the weights stand still
///   Training ─────────────► Waiting ──────────────────────────► Retrying
///      ▲                       ▲                                  │  │
///      │                       └───────── rolled back again ──────┘  │
///      └──────── calm, a new level, or the rollback taken back ──────┘
///
///   any of them ── nothing is left to try ──► Stopped
/// ```
///
/// While something writes to the weights, the run stays in `Waiting`. When that has ended, the
/// ladder asks for another rollback, and the run is in `Retrying` until the adapter answers. A run
/// whose user writes to the weights on purpose goes from `Training` to `Retrying` at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// No rollback, or it has been calm since the last one.
    #[default]
    Training,
    /// Back at a snapshot. No step is applied until one reading shows that the weights stand still.
    Waiting { at: Return, still: Still },
    /// Training from a snapshot, until it has been calm.
    Retrying { at: Return },
    /// The run is over.
    Stopped {
        reason: String,
        /// The step of the last return, where it has not been calm since.
        back_at: Option<u64>,
    },
}

/// A return to a snapshot, and what followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Return {
    /// The step of the snapshot.
    pub(super) step: u64,
    /// The bad losses since then.
    pub(super) level: Level,
}

impl Phase {
    /// The return that has not been calm since.
    pub(super) fn latest_return(&self) -> Option<&Return> {
        match self {
            Self::Waiting { at, .. } | Self::Retrying { at } => Some(at),
            Self::Training | Self::Stopped { .. } => None,
        }
    }

    /// The step of the last return, where it has not been calm since.
    pub(super) fn back_at(&self) -> Option<u64> {
        match self {
            Self::Stopped { back_at, .. } => *back_at,
            _ => self.latest_return().map(|at| at.step),
        }
    }

    /// Remembers a bad loss, where it may show a new level.
    pub(super) fn push_loss(&mut self, loss: f64, patience: usize) {
        if let Self::Waiting { at, .. } | Self::Retrying { at } = self {
            at.level.push(loss, patience);
        }
    }

    /// The adapter went back to a step; `watched` is whether to wait for weights that stand still.
    pub(super) fn go_back(&mut self, step: u64, watched: bool) {
        let at = Return {
            step,
            level: Level::default(),
        };
        *self = match std::mem::take(self) {
            Self::Stopped { reason, .. } => Self::Stopped {
                reason,
                back_at: Some(step),
            },
            _ if watched => Self::Waiting {
                at,
                still: Still::default(),
            },
            _ => Self::Retrying { at },
        };
    }

    /// The weights are waited for no longer.
    pub(super) fn end_wait(&mut self) {
        *self = match std::mem::take(self) {
            Self::Waiting { at, .. } => Self::Retrying { at },
            other => other,
        };
    }

    /// The last rollback is history.
    pub(super) fn settle(&mut self) {
        match self {
            Self::Stopped { back_at, .. } => *back_at = None,
            _ => *self = Self::Training,
        }
    }

    /// The run is over.
    pub(super) fn stop(&mut self, reason: String) {
        let back_at = self.back_at();
        *self = Self::Stopped { reason, back_at };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_and_back() {
        let mut phase = Phase::default();
        phase.go_back(40, true);
        assert!(matches!(phase, Phase::Waiting { .. }));
        phase.push_loss(3.0, 30);
        phase.end_wait();
        assert!(matches!(&phase, Phase::Retrying { at } if at.level.seen() == 1));
        assert_eq!(phase.back_at(), Some(40));
        // A second return has no losses yet.
        phase.go_back(20, false);
        assert!(matches!(&phase, Phase::Retrying { at } if at.level.seen() == 0));
        phase.settle();
        assert_eq!(phase, Phase::Training);
        phase.end_wait();
        phase.push_loss(3.0, 30);
        assert_eq!(phase, Phase::Training);
    }

    #[test]
    fn a_stop_is_final_and_remembers_where_the_run_is() {
        let mut phase = Phase::default();
        phase.go_back(40, true);
        phase.stop("spent".into());
        assert_eq!(phase.back_at(), Some(40));
        phase.go_back(20, true);
        assert_eq!(phase.back_at(), Some(20));
        phase.settle();
        assert_eq!(phase.back_at(), None);
        assert!(matches!(phase, Phase::Stopped { reason, .. } if reason == "spent"));
    }
}
