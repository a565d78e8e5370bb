use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The loss is above `factor` times both its first value and its running mean:
/// [`Severity::Suspicious`].
///
/// It speaks from the second step on, before [`LossSpike`](super::LossSpike) has a scale. Silent
/// where the losses so far are zero or negative.
///
/// Factor 3 and window 10 are the defaults of Lightning's SpikeDetection. That rule alone fires on
/// healthy runs whose loss is near zero, where threefold jumps between batches are nothing. Those
/// runs stay silent here, because the loss must also be worse than the untrained network's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LossDivergence {
    /// Multiple of the first loss, and of the running mean.
    pub factor: f64,
    /// How many past losses the mean is taken over.
    pub window: usize,
}

impl Default for LossDivergence {
    fn default() -> Self {
        Self {
            factor: 3.0,
            window: 10,
        }
    }
}

/// The first finite loss and the last ones, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossDivergenceState {
    first: Option<f64>,
    recent: VecDeque<f64>,
}

impl Detect for LossDivergence {
    type State = LossDivergenceState;

    const TITLE: &'static str = "loss divergence";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = true;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("factor", self.factor, 0.0)?;
        setting::count("window", self.window, 1, MOST_REMEMBERED)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            factor: self.factor.powf(power),
            ..self
        }
    }

    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let loss = signals.reading.loss;
        let mean = state.recent.iter().sum::<f64>() / state.recent.len() as f64;
        let usual = mean.max(state.first?);
        // A multiple of a negative loss is a lower one.
        if !loss.is_finite() || usual <= 0.0 || loss <= self.factor * usual {
            return None;
        }
        Some(Sighting {
            severity: Severity::Suspicious,
            place: Place::Run,
            value: loss,
            threshold: self.factor * usual,
            message: format!(
                "the loss is {loss:.3e}, over {} times both its start and its running mean \
                 (the larger: {usual:.3e})",
                self.factor
            ),
        })
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        let loss = signals.reading.loss;
        if !loss.is_finite() {
            return;
        }
        state.first.get_or_insert(loss);
        state.recent.push_back(loss);
        while state.recent.len() > self.window.max(1) {
            state.recent.pop_front();
        }
    }

    fn reject(&self, _state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(state: &mut Self::State) {
        *state = Self::State::default();
    }

    /// It is never harmful.
    fn quiet(&self, _state: &Self::State, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(losses: &[f64]) -> Vec<u64> {
        let (rule, mut state) = (LossDivergence::default(), LossDivergenceState::default());
        losses
            .iter()
            .enumerate()
            .filter_map(|(step, loss)| {
                let reading = reading(step as u64, *loss, 1.0);
                let signals = Signals::of(&reading);
                let seen = rule.check(&state, &signals);
                rule.accept(&mut state, &signals, false);
                seen.map(|_| reading.step)
            })
            .collect()
    }

    #[test]
    fn divergence_is_seen() {
        assert_eq!(run(&[2.0, 2.1, 7.0]), [2]);
    }

    #[test]
    fn a_jump_near_zero_is_no_divergence() {
        assert_eq!(run(&[2.3, 0.5, 0.01, 0.01, 0.2]), [] as [u64; 0]);
    }

    #[test]
    fn non_finite_zero_and_negative_losses() {
        assert_eq!(run(&[-1.0, -1.0, -0.5, 2.0]), [] as [u64; 0]);
        assert_eq!(run(&[f64::NAN, 2.0, f64::INFINITY, 2.0]), [] as [u64; 0]);
        assert_eq!(run(&[0.0, 0.0]), [] as [u64; 0]);
    }
}
