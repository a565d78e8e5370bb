use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::{Losses, Signals};
use crate::Place;
use crate::setting::{self, SettingError};

/// The loss is back where the untrained model's was, and stays there: what was learnt is lost.
/// [`Severity::Harmful`].
///
/// A learning rate or weights that grew step by step leave such a run without a jump that
/// [`LossSpike`](super::LossSpike) could see: dead units, saturated units, a loss at chance. The
/// bound is `start - (1 - back) progress`. Start is the median loss of the warm-up, and progress
/// goes from it to the running median. Progress below `min_deviations` robust deviations does not
/// count. The `patience`-th reading in a row with a loss above the bound is harmful.
///
/// A loss that still falls spreads over its own fall, and would hide in it. Losses above the
/// running median are therefore judged a second time, by where the last `recent` losses lie.
/// Progress then counts from half as many again of their own deviations. Losses may be negative;
/// non-finite ones are left to [`NonFinite`](struct@super::NonFinite).
///
/// Defaults: back 0.8; 5 in a row, as many as the ladder takes for an error that lasts; 3
/// deviations; 32 recent ones, of which those five are a small part. Chosen on fault injections of
/// seeds 1,000 and up (in PyTorch 500 and up), apart from those in `benches/runs`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LossRelapse {
    /// Share of the progress that is lost.
    pub back: f64,
    /// Readings in a row.
    pub patience: usize,
    /// Least progress, in robust deviations of the running scale.
    pub min_deviations: f64,
    /// How many losses show where a run that still learns has come to.
    pub recent: usize,
}

impl Default for LossRelapse {
    fn default() -> Self {
        Self {
            back: 0.8,
            patience: 5,
            min_deviations: 3.0,
            recent: 32,
        }
    }
}

/// Readings in a row whose loss was back at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LossRelapseState {
    in_a_row: usize,
}

impl LossRelapse {
    /// The bound that this loss is above; `None` where it is not, and before the run has made
    /// progress.
    fn passed(&self, losses: &Losses<'_>, loss: f64) -> Option<f64> {
        let spread = losses.spread?;
        let passed = |level: f64, sigma: f64, deviations: f64| {
            let progress = spread.start - level;
            let bound = spread.start - (1.0 - self.back) * progress;
            let made = progress > deviations * sigma && bound.is_finite();
            (made && loss.is_finite() && loss > bound).then_some(bound)
        };
        passed(spread.median, spread.sigma, self.min_deviations).or_else(|| {
            let above = loss > spread.median;
            let (level, sigma) = above.then(|| losses.scale.of_last(self.recent)).flatten()?;
            passed(level, sigma, 1.5 * self.min_deviations)
        })
    }

    /// Whether this loss is back where the untrained model's was, whatever came before it.
    pub(super) fn is_back(&self, signals: &Signals<'_>) -> bool {
        self.passed(&signals.losses, signals.reading.loss).is_some()
    }

    /// Whether the next reading that is back would be one too many.
    fn lasts(&self, state: LossRelapseState) -> bool {
        state.in_a_row.saturating_add(1) >= self.patience
    }

    fn count(&self, state: &mut LossRelapseState, signals: &Signals<'_>) {
        state.in_a_row = if self.is_back(signals) {
            state.in_a_row.saturating_add(1)
        } else {
            0
        };
    }
}

impl Detect for LossRelapse {
    type State = LossRelapseState;

    const TITLE: &'static str = "loss relapse";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = true;

    fn validate(&self) -> Result<(), SettingError> {
        setting::between("back", self.back, 0.0, 1.0)?;
        setting::count("patience", self.patience, 1, MOST_REMEMBERED)?;
        setting::at_least("min_deviations", self.min_deviations, 0.0)?;
        setting::count("recent", self.recent, 1, MOST_REMEMBERED)
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let loss = signals.reading.loss;
        let bound = self.passed(&signals.losses, loss);
        let bound = bound.filter(|_| self.lasts(*state))?;
        Some(Sighting {
            severity: Severity::Harmful,
            place: Place::Run,
            value: loss,
            threshold: bound,
            message: format!(
                "the loss is back at {loss:.3e} for the {}th step in a row; an untrained model's is \
                 no worse",
                state.in_a_row.saturating_add(1)
            ),
        })
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        self.count(state, signals);
    }

    fn reject(&self, state: &mut Self::State, signals: &Signals<'_>, _applied: bool) {
        self.count(state, signals);
    }

    fn forget_level(state: &mut Self::State) {
        *state = Self::State::default();
    }

    /// Below the loss from which on the next reading would be harmful.
    fn quiet(&self, state: &Self::State, next: &Next<'_>, mut bounds: Quiet) -> Option<Quiet> {
        // Each of the two judgements has a bound of its own.
        while self.lasts(*state)
            && let Some(lower) = self.passed(&next.losses, bounds.loss)
        {
            bounds.loss = lower;
        }
        Some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scale::RunningScale;
    use super::super::testing::reading;
    use super::*;

    fn run(losses: impl IntoIterator<Item = f64>) -> Vec<u64> {
        let rule = LossRelapse::default();
        let (mut scale, mut state) = (RunningScale::default(), LossRelapseState::default());
        let mut fired = Vec::new();
        for (step, loss) in losses.into_iter().enumerate() {
            let reading = reading(step as u64, loss, 1.0);
            let losses = Losses {
                scale: &scale,
                spread: scale.spread(),
                largest_usual: None,
            };
            let signals = Signals::of(&reading).after(losses);
            fired.extend(rule.check(&state, &signals).map(|_| reading.step));
            rule.accept(&mut state, &signals, false);
            scale.push(loss, 128, 20);
        }
        fired
    }

    /// Falls from 2.3 to 0.3, with a little noise.
    fn learning(step: usize) -> f64 {
        0.3 + 2.0 * (-(step as f64) / 10.0).exp() + 0.01 * ((step * 7 % 5) as f64 - 2.0)
    }

    #[test]
    fn a_loss_that_climbs_back_is_seen_when_it_stays() {
        let climbs = (0..100)
            .map(learning)
            .chain((0..30).map(|i| (0.3 + 0.1 * f64::from(i)).min(2.31)));
        let fired = run(climbs);
        // The median of the first 20 losses is 1.03; 0.8 of the way from 0.3 to it, 0.89, is passed
        // at step 107, and the fifth in a row fires.
        assert_eq!(fired.first(), Some(&111));
        // Four in a row are none.
        let short = (0..100).map(learning).chain([2.3; 4]).chain([0.3; 10]);
        assert_eq!(run(short), [] as [u64; 0]);
    }

    /// A loss that falls throughout the window, from 2.3 by 0.01 a step, spreads over 0.9 of
    /// itself.
    #[test]
    fn a_loss_that_still_falls_and_then_climbs_is_seen() {
        let falls = |step: usize| 2.3 - 0.01 * step as f64 + 0.02 * ((step * 7 % 5) as f64 - 2.0);
        let climbs = (0..120)
            .map(falls)
            .chain((0..20).map(|step| 3.0 * 1.3f64.powi(step)));
        assert_eq!(run(climbs).first(), Some(&124));
        assert_eq!(run((0..200).map(falls)), [] as [u64; 0]);
        // It oscillates, and its peaks are part of the spread.
        let waves = (0..400).map(|step| 1.5 + 0.8 * (f64::from(step) / 25.0).cos());
        assert_eq!(run(waves), [] as [u64; 0]);
    }

    #[test]
    fn no_progress_and_odd_losses_are_silent() {
        assert_eq!(run([2.3; 200]), [] as [u64; 0]);
        assert_eq!(run((0..200).map(learning)), [] as [u64; 0]);
        for odd in [f64::NAN, f64::INFINITY, 0.0] {
            assert_eq!(run([odd; 60]), [] as [u64; 0]);
        }
        let broken = (0..100).map(learning).chain([f64::NAN; 20]);
        assert_eq!(run(broken), [] as [u64; 0]);
    }
}
