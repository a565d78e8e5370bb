use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Detection, Detector};
use crate::{Place, StepReading};

/// The loss is above `factor` times both its first value and its running mean.
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
    /// Judges one reading against the past, then remembers it.
    pub fn step(
        &self,
        state: &mut LossDivergenceState,
        reading: &StepReading,
    ) -> Option<Detection> {
        let loss = reading.loss;
        if !loss.is_finite() {
            return None;
        }
        let mean = state.recent.iter().sum::<f64>() / state.recent.len() as f64;
        let usual = state.first.map(|first| mean.max(first));
        state.first.get_or_insert(loss);
        state.recent.push_back(loss);
        while state.recent.len() > self.window {
            state.recent.pop_front();
        }
        let usual = usual.filter(|usual| loss > self.factor * usual)?;
        Some(Detection {
            detector: Detector::LossDivergence,
            step: reading.step,
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
            .filter_map(|(step, loss)| rule.step(&mut state, &reading(step as u64, *loss, 1.0)))
            .map(|seen| seen.step)
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
    fn non_finite_and_zero_losses() {
        assert_eq!(run(&[f64::NAN, 2.0, f64::INFINITY, 2.0]), [] as [u64; 0]);
        assert_eq!(run(&[0.0, 0.0]), [] as [u64; 0]);
    }
}
