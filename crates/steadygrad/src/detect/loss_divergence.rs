use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The loss is above `factor` times both its first value and its running mean:
/// [`Severity::Suspicious`]. The last `window` losses are above `runaway` times the first, and the
/// gradient norms above the root of that: [`Severity::Harmful`], however slowly they came there.
///
/// It speaks from the second step on, before [`LossSpike`](super::LossSpike) has a scale. Silent
/// where the losses so far are zero or negative.
///
/// Factor 3 and window 10 are the defaults of Lightning's SpikeDetection. That rule alone fires on
/// healthy runs whose loss is near zero, where threefold jumps between batches are nothing. Those
/// runs stay silent here, because the loss must also be worse than the untrained network's.
///
/// A squared loss at 1e5 times its start has errors 300 times as large. Running scales follow a
/// growth of some percent a step, so that only the run's own start shows it. The norm must have
/// grown as well: a loss that starts near zero, as a penalty may, is no measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LossDivergence {
    /// Multiple of the first loss, and of the running mean.
    pub factor: f64,
    /// How many past losses the mean is taken over.
    pub window: usize,
    /// Multiple of the first loss that no run comes back from.
    pub runaway: f64,
}

impl Default for LossDivergence {
    fn default() -> Self {
        Self {
            factor: 3.0,
            window: 10,
            runaway: 1e5,
        }
    }
}

/// The first finite loss and the last ones, oldest first, with the gradient norms beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LossDivergenceState {
    first: Option<f64>,
    recent: VecDeque<f64>,
    first_norm: Option<f64>,
    recent_norms: VecDeque<f64>,
}

/// Remembers a value among the last ones.
fn remember(recent: &mut VecDeque<f64>, value: f64, window: usize) {
    recent.push_back(value);
    while recent.len() > window.max(1) {
        recent.pop_front();
    }
}

impl LossDivergence {
    /// Whether the accepted losses and norms have run away from their start.
    fn has_run_away(&self, state: &LossDivergenceState) -> bool {
        let above = |recent: &VecDeque<f64>, bound: f64| {
            let full = recent.len() >= self.window.max(1);
            full && bound > 0.0 && recent.iter().all(|value| *value > bound)
        };
        let loss = state.first.unwrap_or(0.0) * self.runaway;
        let norm = state.first_norm.unwrap_or(0.0) * self.runaway.sqrt();
        above(&state.recent, loss) && above(&state.recent_norms, norm)
    }
}

impl Detect for LossDivergence {
    type State = LossDivergenceState;

    const TITLE: &'static str = "loss divergence";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = true;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("factor", self.factor, 0.0)?;
        setting::above("runaway", self.runaway, 0.0)?;
        setting::count("window", self.window, 1, MOST_REMEMBERED)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            factor: self.factor.powf(power),
            runaway: self.runaway.powf(power),
            ..self
        }
    }

    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let loss = signals.reading.loss;
        let mean = state.recent.iter().sum::<f64>() / state.recent.len() as f64;
        let usual = mean.max(state.first?);
        if self.has_run_away(state) && loss > self.runaway * state.first? {
            let first = state.first?;
            return Some(Sighting {
                severity: Severity::Harmful,
                place: Place::Run,
                value: loss,
                threshold: self.runaway * first,
                message: format!(
                    "the loss has grown from {first:.3e} to {loss:.3e}, and the gradient with it"
                ),
            });
        }
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
        remember(&mut state.recent, loss, self.window);
        let norm = signals.global_norm;
        if norm.is_finite() {
            state.first_norm.get_or_insert(norm);
            remember(&mut state.recent_norms, norm, self.window);
        }
    }

    fn reject(&self, _state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(state: &mut Self::State) {
        *state = Self::State::default();
    }

    /// Only what was accepted so far decides whether it is harmful.
    fn quiet(&self, state: &Self::State, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        (!self.has_run_away(state)).then_some(bounds)
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
    fn a_slow_growth_of_loss_and_norm_is_a_harm_and_one_of_the_loss_alone_is_none() {
        let harms = |norm: &dyn Fn(f64) -> f64| {
            let (rule, mut state) = (LossDivergence::default(), LossDivergenceState::default());
            (0..600u64).find(|step| {
                let loss = 1.05f64.powi(*step as i32);
                let reading = reading(*step, loss, norm(loss) as f32);
                let signals = Signals::of(&reading);
                let seen = rule.check(&state, &signals);
                rule.accept(&mut state, &signals, false);
                seen.is_some_and(|seen| seen.severity >= Severity::Harmful)
            })
        };
        // 1.05^236 is 1e5; the window must be above it.
        assert_eq!(harms(&f64::sqrt), Some(246));
        assert_eq!(harms(&|_| 1.0), None);
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
