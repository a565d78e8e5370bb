use serde::{Deserialize, Serialize};

use super::{Detection, Detector, Severity, Signals};
use crate::Place;

/// The user's learning rate is above `factor` times the largest of the run so far:
/// [`Severity::Harmful`].
///
/// The largest of the whole run, because cosine restarts come back from near zero to where they
/// were. Silent for the first `warmup` readings, where a schedule may begin at nothing; a linear
/// warm-up rises at most twofold from then on. Zero, negative and non-finite rates are not
/// remembered (the last the non-finite detector sees).
///
/// Defaults: factor 30, between the tenfold step by which constant warm-ups end (He et al., 2015,
/// for ResNet-110) and the hundredfold that a slipped digit or unit makes; warm-up 20.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearningRateJump {
    /// Times the largest learning rate so far.
    pub factor: f64,
    /// Readings before the first judgement.
    pub warmup: usize,
}

impl Default for LearningRateJump {
    fn default() -> Self {
        Self {
            factor: 30.0,
            warmup: 20,
        }
    }
}

/// The largest learning rate so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LearningRateJumpState {
    largest: Option<f64>,
    seen: usize,
}

impl LearningRateJump {
    /// Judges one reading against the past.
    pub fn check(&self, state: &LearningRateJumpState, signals: &Signals<'_>) -> Option<Detection> {
        let rate = signals.reading.learning_rate;
        let largest = state.largest.filter(|_| state.seen >= self.warmup)?;
        (rate.is_finite() && rate > self.factor * largest).then(|| Detection {
            detector: Detector::LearningRateJump,
            severity: Severity::Harmful,
            step: signals.reading.step,
            place: Place::Run,
            value: rate,
            threshold: largest,
            message: format!(
                "the learning rate jumped to {rate:.3e}, {:.0} times the largest so far",
                rate / largest
            ),
        })
    }

    /// Remembers a learning rate that was used.
    pub(crate) fn accept(&self, state: &mut LearningRateJumpState, signals: &Signals<'_>) {
        let rate = signals.reading.learning_rate;
        if rate.is_finite() && rate > 0.0 {
            state.largest = Some(state.largest.map_or(rate, |largest| largest.max(rate)));
        }
        state.seen = state.seen.saturating_add(1);
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
                rule.accept(&mut state, &signals);
            }
            all.extend(seen.map(|seen| seen.step));
        }
        all
    }

    #[test]
    fn a_jump_is_seen_and_schedules_are_not() {
        let jump = std::iter::repeat_n(0.01, 30).chain([1.0, 0.01, 0.29, 1.0]);
        assert_eq!(run(jump), [30]);
        assert_eq!(
            run((0..500).map(|step| 1e-3 * f64::from(step))),
            [] as [u64; 0]
        );
        let restarts = (0..300).map(|step| 1e-6 + 0.1 * f64::from(99 - step % 100));
        assert_eq!(run(restarts), [] as [u64; 0]);
    }

    #[test]
    fn warm_up_zero_and_non_finite_rows() {
        assert_eq!(run([1e-9, 1.0]), [] as [u64; 0]);
        assert_eq!(run([0.0; 40].into_iter().chain([1.0])), [] as [u64; 0]);
        let odd = std::iter::repeat_n(0.01, 30).chain([f64::NAN, f64::INFINITY, -5.0, 1.0]);
        assert_eq!(run(odd), [33]);
    }
}
