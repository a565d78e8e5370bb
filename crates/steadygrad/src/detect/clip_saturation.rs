use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// Nearly every step is clipped: the bound has become the step size.
///
/// [`Severity::Note`], once, when `share` of the last `window` steps were clipped. It speaks again
/// after fewer were. Defaults: 0.95 of 128 steps. AutoClip clips nine steps in ten by design, which
/// is below that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
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
pub(crate) struct ClipSaturationState {
    recent: VecDeque<bool>,
    clipped: usize,
    told: bool,
}

impl ClipSaturation {
    fn is_saturated(&self, state: &ClipSaturationState) -> bool {
        state.recent.len() >= self.window.max(1)
            && state.clipped as f64 >= self.share * state.recent.len() as f64
    }
}

impl Detect for ClipSaturation {
    type State = ClipSaturationState;

    const TITLE: &'static str = "clip saturation";
    const IS_ABOUT_EXPLOSION: bool = false;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::count("window", self.window, 1, MOST_REMEMBERED)?;
        setting::between("share", self.share, 0.0, 1.0)
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    /// Judges the steps before this one.
    fn check(&self, state: &Self::State, _signals: &Signals<'_>) -> Option<Sighting> {
        if state.told || !self.is_saturated(state) {
            return None;
        }
        Some(Sighting {
            severity: Severity::Note,
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

    fn accept(&self, state: &mut Self::State, _signals: &Signals<'_>, clipped: bool) {
        state.told = self.is_saturated(state);
        state.recent.push_back(clipped);
        state.clipped += usize::from(clipped);
        while state.recent.len() > self.window.max(1) {
            let oldest = state.recent.pop_front().unwrap_or(false);
            state.clipped = state.clipped.saturating_sub(usize::from(oldest));
        }
    }

    fn reject(&self, _state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(_state: &mut Self::State) {}

    fn quiet(&self, _state: &Self::State, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
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
            let signals = Signals::of(&reading);
            all.extend(rule.check(&state, &signals).map(|_| reading.step));
            rule.accept(&mut state, &signals, clipped);
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
