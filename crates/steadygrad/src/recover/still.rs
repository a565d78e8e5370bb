use serde::{Deserialize, Serialize};

use crate::detect::Detection;

/// It is waited for so many times as long as for a level of the losses.
const MOST_PATIENCES: usize = 3;

/// Whether weights are written to by something else than the optimizer: a step that is left out shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Still {
    waited: usize,
    /// The last change without a step.
    moved: Option<Detection>,
}

/// What one more reading says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Waiting {
    /// Nothing: the step before was applied.
    Try,
    /// They are written to.
    Moving(Detection),
    /// They were, and are no more; or it lasts too long.
    WasMoved(Detection),
    /// They stood still.
    Still,
}

impl Still {
    /// One more reading, with the damage that it shows.
    pub(super) fn next(&mut self, damage: Option<&Detection>, patience: usize) -> Waiting {
        self.waited = self.waited.saturating_add(1);
        let waits = self.waited <= MOST_PATIENCES.saturating_mul(patience);
        match damage {
            Some(damage) => {
                self.moved = Some(damage.clone());
                if waits {
                    Waiting::Moving(damage.clone())
                } else {
                    Waiting::WasMoved(damage.clone())
                }
            }
            None if self.waited == 1 => Waiting::Try,
            None => self.moved.take().map_or(Waiting::Still, Waiting::WasMoved),
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
    fn what_moves_is_waited_for_and_gone_back_from() {
        let mut still = Still::default();
        assert_eq!(still.next(None, 30), Waiting::Try);
        for step in 1..40 {
            let damage = damage(step);
            let next = still.next(Some(&damage), 30);
            assert_eq!(next, Waiting::Moving(damage));
        }
        assert_eq!(still.next(None, 30), Waiting::WasMoved(damage(39)));
        // Without end it is not waited for.
        let ends = (40..200)
            .find(|step| matches!(still.next(Some(&damage(*step)), 30), Waiting::WasMoved(_)));
        assert_eq!(ends, Some(89));
        assert_eq!(
            Still::default().next(Some(&damage(1)), 0),
            Waiting::WasMoved(damage(1))
        );
    }
}
