use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Detection, Detector, Severity, Signals};
use crate::Place;

/// The loss rose *along* the step: measured again on the same batch after it, it is higher.
///
/// A plain gradient step lowers its own batch's loss while learning rate x sharpness < 2, whatever
/// the noise between batches. [`Severity::Note`] once, when `share` of the last `window` steps
/// overshot; [`Severity::Damage`] when one step took its batch's loss from the usual range to a
/// non-finite value or beyond what [`LossSpike`](super::LossSpike) calls harmful.
///
/// Defaults: 0.8 of 10: chance alone, a fair coin, gives 8 or more of 10 in 5.5 % of cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overshoot {
    /// How many measured steps are remembered.
    pub window: usize,
    /// Share of them that may overshoot.
    pub share: f64,
}

impl Default for Overshoot {
    fn default() -> Self {
        Self {
            window: 10,
            share: 0.8,
        }
    }
}

/// The previous loss, and which of the last steps overshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OvershootState {
    before: Option<f64>,
    recent: VecDeque<bool>,
    told: bool,
}

impl Overshoot {
    /// Judges the previous step. `usual` is the largest loss that is no harm, where it is known.
    pub fn check(
        &self,
        state: &OvershootState,
        usual: Option<f64>,
        signals: &Signals<'_>,
    ) -> Option<Detection> {
        let (before, after) = (state.before?, signals.reading.loss_after?);
        let found = |severity, threshold, message| {
            Some(Detection {
                detector: Detector::Overshoot,
                severity,
                step: signals.reading.step,
                place: Place::Run,
                value: after,
                threshold,
                message,
            })
        };
        let harm = usual.unwrap_or(f64::INFINITY);
        if !after.is_finite() || (before <= harm && after > harm) {
            let message =
                format!("the last step took its own batch's loss from {before:.3e} to {after:.3e}");
            return found(Severity::Damage, harm, message);
        }
        if self.often(state) && !state.told && after > before {
            let message = format!(
                "the loss of its own batch rose along {} of the last {} steps: the learning rate is \
                 beyond what the curvature allows",
                state.recent.iter().filter(|over| **over).count(),
                state.recent.len()
            );
            return found(Severity::Note, before, message);
        }
        None
    }

    fn often(&self, state: &OvershootState) -> bool {
        let over = state.recent.iter().filter(|over| **over).count();
        state.recent.len() >= self.window.max(1)
            && over as f64 >= self.share * state.recent.len() as f64
    }

    /// Remembers a reading that was not harmful.
    pub(crate) fn accept(&self, state: &mut OvershootState, signals: &Signals<'_>) {
        state.told = self.often(state);
        if let (Some(before), Some(after)) = (state.before, signals.reading.loss_after) {
            state.recent.push_back(after > before);
            while state.recent.len() > self.window.max(1) {
                state.recent.pop_front();
            }
        }
        self.forget(state);
        state.before = Some(signals.reading.loss).filter(|loss| loss.is_finite());
    }

    /// The step is not applied: there is no loss after it.
    pub(crate) fn forget(&self, state: &mut OvershootState) {
        state.before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(rows: &[(f64, Option<f64>)], usual: Option<f64>) -> Vec<(u64, Severity)> {
        let (rule, mut state) = (Overshoot::default(), OvershootState::default());
        let mut all = Vec::new();
        for (step, (loss, after)) in rows.iter().enumerate() {
            let mut reading = reading(step as u64, *loss, 1.0);
            reading.loss_after = *after;
            let signals = Signals::of(&reading);
            all.extend(
                rule.check(&state, usual, &signals)
                    .map(|seen| (seen.step, seen.severity)),
            );
            rule.accept(&mut state, &signals);
        }
        all
    }

    #[test]
    fn a_habit_is_noted_once() {
        assert_eq!(run(&[(1.0, Some(1.1)); 40], None), [(11, Severity::Note)]);
        assert_eq!(run(&[(1.0, Some(0.9)); 40], None), []);
    }

    #[test]
    fn a_step_that_ruins_its_own_batch_is_damage() {
        let rows = [
            (1.0, None),
            (1.0, Some(9.0)),
            (1.0, Some(2.0)),
            (1.0, Some(f64::NAN)),
        ];
        assert_eq!(
            run(&rows, Some(5.0)),
            [(1, Severity::Damage), (3, Severity::Damage)]
        );
    }

    #[test]
    fn what_was_not_measured_is_silent() {
        assert_eq!(run(&[(1.0, None); 40], Some(0.5)), []);
        assert_eq!(run(&[(f64::NAN, Some(f64::NAN)); 40], Some(0.5)), []);
        // The batch was beyond the usual before the step.
        assert_eq!(run(&[(9.0, None), (1.0, Some(8.0))], Some(5.0)), []);
    }
}
