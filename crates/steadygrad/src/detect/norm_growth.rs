use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Detection, Detector};
use crate::{Place, StepReading};

/// The global norm is above `factor` times both the median of the last `window` finite norms and
/// the median of the warm-up's.
///
/// A median, because a mean would be dragged along by the explosion it watches for. The warm-up
/// stays a reference, because a model that has learnt its data has norms near zero, of which ten
/// times is nothing: without it, healthy runs that had converged raised up to 95 alarms in 2,500
/// steps. Default factor 10 (the outlier ratio of Megatron-LM's rerun check, there on the loss),
/// window 20, warm-up 5 steps. A norm that is not finite is left to the non-finite detector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NormGrowth {
    /// How many times the running median is too much.
    pub factor: f64,
    /// How many past norms the median is taken over.
    pub window: usize,
    /// Steps before the detector may speak.
    pub warmup: usize,
}

impl Default for NormGrowth {
    fn default() -> Self {
        Self {
            factor: 10.0,
            window: 20,
            warmup: 5,
        }
    }
}

/// The last finite global norms, oldest first, and the scale the run began at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NormGrowthState {
    norms: VecDeque<f64>,
    at_start: Option<f64>,
}

impl NormGrowth {
    /// Judges one reading against the past, then remembers it.
    pub fn step(&self, state: &mut NormGrowthState, reading: &StepReading) -> Option<Detection> {
        let norm = reading.gradients.global_norm();
        if !norm.is_finite() {
            return None;
        }
        let warm = state.norms.len() >= self.warmup.max(1);
        let usual = warm.then(|| {
            let recent = median(&state.norms);
            recent.max(*state.at_start.get_or_insert(recent))
        });
        state.norms.push_back(norm);
        while state.norms.len() > self.window {
            state.norms.pop_front();
        }
        let usual = usual.filter(|usual| norm > self.factor * usual)?;
        let (place, carries) = match reading.gradients.largest_share() {
            Some((name, share)) => (
                Place::Parameter(name.to_owned()),
                format!("; `{name}` carries {:.0} % of its square", 100.0 * share),
            ),
            None => (Place::Run, String::new()),
        };
        Some(Detection {
            detector: Detector::NormGrowth,
            step: reading.step,
            place,
            value: norm,
            threshold: self.factor * usual,
            message: format!(
                "the global norm is {norm:.3e}, over {} times its usual {usual:.3e}{carries}",
                self.factor
            ),
        })
    }
}

fn median(values: &VecDeque<f64>) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(gradients: &[f32]) -> Vec<u64> {
        let (rule, mut state) = (NormGrowth::default(), NormGrowthState::default());
        gradients
            .iter()
            .enumerate()
            .filter_map(|(step, gradient)| {
                rule.step(&mut state, &reading(step as u64, 1.0, *gradient))
            })
            .map(|seen| seen.step)
            .collect()
    }

    #[test]
    fn a_jump_is_seen_and_a_slow_rise_is_not() {
        assert_eq!(run(&[1.0, 1.1, 0.9, 1.0, 1.2, 12.0]), [5]);
        let slow: Vec<f32> = (0..200).map(|step| 1.05f32.powi(step)).collect();
        assert_eq!(run(&slow), [] as [u64; 0]);
    }

    #[test]
    fn a_jump_back_towards_the_start_is_no_explosion() {
        let mut converged = vec![1.0; 5];
        converged.extend([0.001; 30]);
        converged.push(0.5);
        assert_eq!(run(&converged), [] as [u64; 0]);
        converged.push(20.0);
        assert_eq!(run(&converged), [36]);
    }

    #[test]
    fn warm_up_zero_and_non_finite_rows() {
        assert_eq!(run(&[1.0, 100.0, 1.0]), [] as [u64; 0]);
        assert_eq!(run(&[0.0; 10]), [] as [u64; 0]);
        // The NaN neither fires nor poisons the median: the jump after it is still seen.
        assert_eq!(run(&[1.0, 1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0, 50.0]), [7]);
    }
}
