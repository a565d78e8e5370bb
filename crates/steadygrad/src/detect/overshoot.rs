use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The loss rose *along* a step: measured again on the same batch after the step, it is higher.
///
/// A plain gradient step lowers its own batch's loss while learning rate x sharpness < 2, whatever
/// the noise between batches. [`Severity::Note`] once, when `share` of the last `window` steps
/// overshot. [`Severity::Damage`] when one step took its batch's loss from the usual range to a
/// non-finite value, or beyond what [`LossSpike`](super::LossSpike) calls harmful. Silent where the
/// adapter does not measure the loss after a step.
///
/// Defaults: 0.8 of 10: chance alone, a fair coin, gives 8 or more of 10 in 5.5 % of cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
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
pub(crate) struct OvershootState {
    before: Option<f64>,
    recent: VecDeque<bool>,
    told: bool,
}

impl OvershootState {
    fn overshot(&self) -> usize {
        self.recent.iter().filter(|over| **over).count()
    }
}

impl Overshoot {
    fn is_often(&self, state: &OvershootState) -> bool {
        state.recent.len() >= self.window.max(1)
            && state.overshot() as f64 >= self.share * state.recent.len() as f64
    }
}

impl Detect for Overshoot {
    type State = OvershootState;

    const TITLE: &'static str = "overshoot";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::count("window", self.window, 1, MOST_REMEMBERED)?;
        setting::between("share", self.share, 0.0, 1.0)
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    /// Judges the previous step.
    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let (before, after) = (state.before?, signals.reading.loss_after?);
        let see = |severity, threshold, message| {
            Some(Sighting {
                severity,
                place: Place::Run,
                value: after,
                threshold,
                message,
            })
        };
        let harm = signals.losses.largest_usual.unwrap_or(f64::INFINITY);
        if !after.is_finite() || (before <= harm && after > harm) {
            let message =
                format!("the last step took its own batch's loss from {before:.3e} to {after:.3e}");
            return see(Severity::Damage, harm, message);
        }
        if self.is_often(state) && !state.told && after > before {
            let message = format!(
                "the loss of its own batch rose along {} of the last {} steps: the learning rate \
                 is beyond what the curvature allows",
                state.overshot(),
                state.recent.len()
            );
            return see(Severity::Note, before, message);
        }
        None
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        state.told = self.is_often(state);
        if let (Some(before), Some(after)) = (state.before, signals.reading.loss_after) {
            state.recent.push_back(after > before);
            while state.recent.len() > self.window.max(1) {
                state.recent.pop_front();
            }
        }
        state.before = Some(signals.reading.loss).filter(|loss| loss.is_finite());
    }

    /// The next reading's loss is not compared with this one: its step is not trusted.
    fn reject(&self, state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {
        state.before = None;
    }

    fn forget_level(state: &mut Self::State) {
        *state = Self::State::default();
    }

    /// A quiet reading has no loss after the step.
    fn quiet(&self, _state: &Self::State, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::signals::Losses;
    use super::super::testing::reading;
    use super::*;

    fn run(rows: &[(f64, Option<f64>)], usual: Option<f64>) -> Vec<(u64, Severity)> {
        let (rule, mut state) = (Overshoot::default(), OvershootState::default());
        let mut all = Vec::new();
        for (step, (loss, after)) in rows.iter().enumerate() {
            let mut reading = reading(step as u64, *loss, 1.0);
            reading.loss_after = *after;
            let signals = Signals::of(&reading).after(Losses {
                largest_usual: usual,
                ..Losses::NONE
            });
            all.extend(
                rule.check(&state, &signals)
                    .map(|seen| (reading.step, seen.severity)),
            );
            rule.accept(&mut state, &signals, false);
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
