use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The user's learning rate jumped: [`Severity::Harmful`].
///
/// It is above `factor` times the largest rate that the run had until `window` readings ago.
///
/// The largest of the whole run counts, because cosine restarts return from near zero to an earlier
/// rate. The rate of `window` readings ago counts, because a rate that grows by a factor each step
/// does as much harm as one that jumps. Silent for the first `warmup` readings, where a schedule
/// may begin at nothing. From there a linear warm-up rises at most 3.5-fold within a window, and
/// one with the square of the step twelvefold. Zero, negative and non-finite rates are not
/// remembered; the last are harmful to [`NonFinite`](struct@super::NonFinite).
///
/// Defaults: factor 30, between the tenfold step by which constant warm-ups end (He et al., 2015,
/// for ResNet-110) and the hundredfold that a slipped digit or unit makes; window 50, the longest
/// over which warm-ups stay clear of it; warm-up 20.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LearningRateJump {
    /// Multiple of the largest learning rate until `window` readings ago.
    pub factor: f64,
    /// Readings that a rise may take.
    pub window: usize,
    /// Readings before the first judgement.
    pub warmup: usize,
}

impl Default for LearningRateJump {
    fn default() -> Self {
        Self {
            factor: 30.0,
            window: 50,
            warmup: 20,
        }
    }
}

/// The largest learning rate so far, as of each of the last readings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearningRateJumpState {
    /// Oldest first; never falls.
    largest: VecDeque<f64>,
    seen: usize,
}

impl LearningRateJumpState {
    /// The largest learning rate so far.
    pub(super) fn largest(&self) -> Option<f64> {
        self.largest.back().copied()
    }
}

impl LearningRateJump {
    /// The largest rate before this one, where this one is a jump.
    fn jumps_from(&self, state: &LearningRateJumpState, rate: f64) -> Option<f64> {
        let before = *state
            .largest
            .front()
            .filter(|_| state.seen >= self.warmup)?;
        (rate.is_finite() && rate > self.factor * before).then_some(before)
    }

    fn remember(&self, state: &mut LearningRateJumpState, rate: f64) {
        if rate.is_finite() && rate > 0.0 {
            let largest = state.largest().map_or(rate, |largest| largest.max(rate));
            if state.seen < self.warmup {
                // A rise within the warm-up is no jump.
                state.largest.clear();
            }
            state.largest.push_back(largest);
            while state.largest.len() > self.window.max(1) {
                state.largest.pop_front();
            }
        }
        state.seen = state.seen.saturating_add(1);
    }

    /// Takes this learning rate as the user's intention: later ones are judged against it.
    pub(super) fn accept_as_meant(&self, state: &mut LearningRateJumpState, rate: f64) {
        state.largest.clear();
        self.remember(state, rate);
    }
}

impl Detect for LearningRateJump {
    type State = LearningRateJumpState;

    const TITLE: &'static str = "learning rate jump";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("factor", self.factor, 1.0)?;
        setting::count("window", self.window, 1, MOST_REMEMBERED)?;
        setting::count("warmup", self.warmup, 0, MOST_REMEMBERED)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            factor: self.factor.powf(power),
            ..self
        }
    }

    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let rate = signals.reading.learning_rate;
        let before = self.jumps_from(state, rate)?;
        Some(Sighting {
            severity: Severity::Harmful,
            place: Place::Run,
            value: rate,
            threshold: before,
            message: format!(
                "the learning rate rose to {rate:.3e}, {:.0} times its largest until {} steps ago",
                rate / before,
                state.largest.len()
            ),
        })
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        self.remember(state, signals.reading.learning_rate);
    }

    fn reject(&self, _state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(_state: &mut Self::State) {}

    fn quiet(&self, state: &Self::State, next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        let jump = self.jumps_from(state, next.learning_rate);
        jump.is_none().then_some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(rates: impl IntoIterator<Item = f64>) -> Vec<u64> {
        let (rule, mut state) = (
            LearningRateJump::default(),
            LearningRateJumpState::default(),
        );
        let mut all = Vec::new();
        for (step, rate) in rates.into_iter().enumerate() {
            let mut reading = reading(step as u64, 1.0, 1.0);
            reading.learning_rate = rate;
            let signals = Signals::of(&reading);
            let seen = rule.check(&state, &signals);
            if seen.is_none() {
                rule.accept(&mut state, &signals, false);
            }
            all.extend(seen.map(|_| reading.step));
        }
        all
    }

    #[test]
    fn a_jump_is_seen_and_schedules_are_not() {
        let jump = std::iter::repeat_n(0.01, 30).chain([1.0, 0.01, 0.29, 1.0]);
        assert_eq!(run(jump), [30, 33]);
        assert_eq!(
            run((0..500).map(|step| 1e-3 * f64::from(step))),
            [] as [u64; 0]
        );
        let squared = (0..500).map(|step| 1e-6 * f64::from(step * step));
        assert_eq!(run(squared), [] as [u64; 0]);
        let restarts = (0..300).map(|step| 1e-6 + 0.1 * f64::from(99 - step % 100));
        assert_eq!(run(restarts), [] as [u64; 0]);
    }

    #[test]
    fn a_steady_rise_is_seen_when_it_has_come_as_far_as_a_jump() {
        // 1.25^15 is 28, 1.25^16 is 36; 1.05^50 is 11.
        let rises = |factor: f64| {
            let grown = (1..=40).map(move |step| 0.01 * factor.powi(step));
            std::iter::repeat_n(0.01, 30).chain(grown)
        };
        assert_eq!(run(rises(1.25)).first(), Some(&45));
        assert_eq!(run(rises(1.05)), [] as [u64; 0]);
        // A rate that is meant is the largest from there on.
        let (rule, mut state) = (
            LearningRateJump::default(),
            LearningRateJumpState::default(),
        );
        for rate in std::iter::repeat_n(0.01, 30).chain([1.0, 29.0]) {
            let mut reading = reading(0, 1.0, 1.0);
            reading.learning_rate = rate;
            rule.accept_as_meant(&mut state, rate);
            assert_eq!(rule.check(&state, &Signals::of(&reading)), None);
        }
    }

    #[test]
    fn warm_up_zero_and_non_finite_rows() {
        assert_eq!(run([1e-9, 1.0]), [] as [u64; 0]);
        assert_eq!(run([0.0; 40].into_iter().chain([1.0])), [] as [u64; 0]);
        let odd = std::iter::repeat_n(0.01, 30).chain([f64::NAN, f64::INFINITY, -5.0, 1.0]);
        assert_eq!(run(odd), [33]);
    }
}
