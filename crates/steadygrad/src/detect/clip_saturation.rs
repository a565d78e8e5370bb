use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Detection, Detector, Severity, Signals};
use crate::Place;

/// Nearly every step is clipped: the bound has become the step size.
///
/// [`Severity::Note`], once, when `share` of the last `window` steps were clipped, until fewer are.
/// Defaults: 0.95 of 128. AutoClip clips nine steps in ten by design, which is below it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipSaturation {
    /// How many steps are remembered.
    pub window: usize,
    /// Share of them that may be clipped.
    pub share: f64,
}

impl Default for ClipSaturation {
    fn default() -> Self {
        Self {
            window: 128,
            share: 0.95,
        }
    }
}

/// Which of the last steps were clipped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClipSaturationState {
    recent: VecDeque<bool>,
    clipped: usize,
    told: bool,
}

impl ClipSaturation {
    fn saturated(&self, state: &ClipSaturationState) -> bool {
        state.recent.len() >= self.window.max(1)
            && state.clipped as f64 >= self.share * state.recent.len() as f64
    }

    /// Judges the steps before this one.
    pub fn check(&self, state: &ClipSaturationState, signals: &Signals<'_>) -> Option<Detection> {
        if state.told || !self.saturated(state) {
            return None;
        }
        Some(Detection {
            detector: Detector::ClipSaturation,
            severity: Severity::Note,
            step: signals.reading.step,
            place: Place::Run,
            value: state.clipped as f64 / state.recent.len() as f64,
            threshold: self.share,
            message: format!(
                "{} of the last {} steps were clipped: the bound, not the gradient, sets the step",
                state.clipped,
                state.recent.len()
            ),
        })
    }

    /// Remembers whether an applied step was clipped.
    pub(crate) fn accept(&self, state: &mut ClipSaturationState, clipped: bool) {
        state.told = self.saturated(state);
        state.recent.push_back(clipped);
        state.clipped += usize::from(clipped);
        while state.recent.len() > self.window.max(1) {
            let oldest = state.recent.pop_front().unwrap_or(false);
            state.clipped = state.clipped.saturating_sub(usize::from(oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(clipped: impl IntoIterator<Item = bool>) -> Vec<u64> {
        let (rule, mut state) = (ClipSaturation::default(), ClipSaturationState::default());
        let mut all = Vec::new();
        for (step, clipped) in clipped.into_iter().enumerate() {
            let reading = reading(step as u64, 1.0, 1.0);
            all.extend(
                rule.check(&state, &Signals::of(&reading))
                    .map(|seen| seen.step),
            );
            rule.accept(&mut state, clipped);
        }
        all
    }

    #[test]
    fn told_once_a_spell() {
        assert_eq!(run([true; 300]), [128]);
        assert_eq!(run((0..300).map(|step| step % 10 != 0)), [] as [u64; 0]);
        let spells = (0..600).map(|step| !(200..=300).contains(&step));
        assert_eq!(run(spells).len(), 2);
    }
}
