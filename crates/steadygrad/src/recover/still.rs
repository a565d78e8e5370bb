use serde::{Deserialize, Serialize};

use super::level::MOST_PATIENCES;
use crate::detect::Detection;

/// Readings in a row without a change that show that the writes have ended.
const QUIET: usize = 3;

/// Whether something other than the optimizer writes to the weights. A step that is left out shows
/// it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Still {
    /// Readings so far.
    waited: usize,
    /// The last change without a step.
    moved: Option<Detection>,
    /// Readings since that change.
    quiet: usize,
}

/// What one more reading shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Waiting {
    /// Nothing yet: the step before was applied.
    Try,
    /// Something writes to the weights.
    Moving(Detection),
    /// Something wrote to the weights, and has ended.
    WasMoved(Detection),
    /// Something has written to the weights for so long that it may be meant.
    Endless(Detection),
    /// The weights stood still.
    Still,
}

impl Still {
    /// Takes one more reading, with the change of the weights that it shows.
    pub(super) fn next(&mut self, damage: Option<&Detection>, patience: usize) -> Waiting {
        self.waited = self.waited.saturating_add(1);
        if let Some(damage) = damage {
            self.moved = Some(damage.clone());
            self.quiet = 0;
        } else {
            self.quiet = self.quiet.saturating_add(1);
        }
        match &self.moved {
            None if self.waited == 1 => Waiting::Try,
            None => Waiting::Still,
            Some(moved) if self.quiet >= QUIET => Waiting::WasMoved(moved.clone()),
            Some(moved) if self.waited > MOST_PATIENCES.saturating_mul(patience) => {
                Waiting::Endless(moved.clone())
            }
            Some(moved) => Waiting::Moving(moved.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use crate::detect::{Detector, Severity};

    fn damage(step: u64) -> Detection {
        Detection {
            detector: Detector::WeightGrowth,
            severity: Severity::Damage,
            step,
            place: Place::Run,
            value: 1.05,
            threshold: 1.0,
            message: "moved".into(),
        }
    }

    #[test]
    fn weights_that_stand_still_cost_one_step() {
        let mut still = Still::default();
        assert_eq!(still.next(None, 30), Waiting::Try);
        assert_eq!(still.next(None, 30), Waiting::Still);
    }

    #[test]
    fn writes_are_waited_for_until_they_end() {
        let mut still = Still::default();
        assert_eq!(still.next(None, 30), Waiting::Try);
        for step in 1..40 {
            let damage = damage(step);
            let next = still.next(Some(&damage), 30);
            assert_eq!(next, Waiting::Moving(damage));
        }
        for expected in [Waiting::Moving, Waiting::Moving, Waiting::WasMoved] {
            assert_eq!(still.next(None, 30), expected(damage(39)));
        }
    }

    /// Writes now and then have not ended.
    #[test]
    fn endless_writes_are_not_waited_for_endlessly() {
        let mut still = Still::default();
        let ends = (0..200).find(|step| {
            let damage = damage(*step);
            let seen = (step % 3 == 1).then_some(&damage);
            matches!(still.next(seen, 30), Waiting::Endless(_))
        });
        assert_eq!(ends, Some(90));
        assert_eq!(
            Still::default().next(Some(&damage(1)), 0),
            Waiting::Endless(damage(1))
        );
    }
}
