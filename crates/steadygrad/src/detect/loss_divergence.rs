use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Detection, Detector, Severity, Signals};
use crate::Place;

/// The loss is above `factor` times both its first value and its running mean:
/// [`Severity::Suspicious`]. It speaks from the second step on, before [`LossSpike`](super::LossSpike)
/// has a scale. Silent where the losses so far are zero or negative.
///
/// Factor 3 and window 10 are the defaults of Lightning's SpikeDetection. That rule alone fires
/// on healthy runs whose loss is near zero, where threefold jumps between batches are nothing;
/// asking for a loss worse than the untrained network's as well keeps those silent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossDivergence {
    /// How many times the first loss and the running mean is too much.
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
pub struct LossDivergenceState {
    first: Option<f64>,
    recent: VecDeque<f64>,
}

impl LossDivergence {
    /// Judges one reading against the past.
    pub fn check(&self, state: &LossDivergenceState, signals: &Signals<'_>) -> Option<Detection> {
        let loss = signals.reading.loss;
        let mean = state.recent.iter().sum::<f64>() / state.recent.len() as f64;
        let usual = mean.max(state.first?);
        // A multiple of a negative loss is a lower one.
        if !loss.is_finite() || usual <= 0.0 || loss <= self.factor * usual {
            return None;
        }
        Some(Detection {
            detector: Detector::LossDivergence,
            severity: Severity::Suspicious,
            step: signals.reading.step,
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

    /// Remembers a reading that was not harmful.
    pub(crate) fn accept(&self, state: &mut LossDivergenceState, signals: &Signals<'_>) {
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
                rule.accept(&mut state, &signals);
                seen.map(|seen| seen.step)
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
