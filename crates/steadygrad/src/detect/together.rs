use super::quiet::{Next, Quiet};
use super::signals::{Losses, Signals};
use super::{Detection, DetectorConfig, DetectorState};

impl DetectorConfig {
    /// Shows one reading to every detector. Changes nothing.
    pub(crate) fn check(&self, state: &DetectorState, signals: &Signals<'_>) -> Vec<Detection> {
        let signals = signals.after(self.losses(&state.losses));
        self.check_each(state, &signals)
    }

    /// Whether the loss is back where it started, even for this one reading.
    pub(crate) fn loss_is_back(&self, state: &DetectorState, signals: &Signals<'_>) -> bool {
        let signals = signals.after(self.losses(&state.losses));
        self.loss_relapse.is_back(&signals)
    }

    /// Remembers a reading that is not harmful and whose step is applied, `clipped` or as it is.
    pub(crate) fn accept(&self, state: &mut DetectorState, signals: &Signals<'_>, clipped: bool) {
        // Taken out, so that all detectors can read the losses while they remember.
        let mut losses = std::mem::take(&mut state.losses);
        let after = signals.after(self.losses(&losses));
        self.accept_each(state, &after, clipped);
        self.loss_spike.remember(&mut losses, signals.reading.loss);
        state.losses = losses;
    }

    /// Remembers a reading that is harmful, or whose step is left out: only what is compared from
    /// step to step. `applied` is whether the step is applied all the same.
    pub(crate) fn reject(&self, state: &mut DetectorState, signals: &Signals<'_>, applied: bool) {
        let losses = std::mem::take(&mut state.losses);
        let signals = signals.after(self.losses(&losses));
        self.reject_each(state, &signals, applied);
        state.losses = losses;
    }

    /// Follows rises of the norm anew: the learning rate is another one.
    pub(crate) fn forget_rises(&self, state: &mut DetectorState) {
        state.norm_growth = Default::default();
    }

    /// The user's largest learning rate so far.
    pub(crate) fn largest_learning_rate(state: &DetectorState) -> Option<f64> {
        state.learning_rate_jump.largest()
    }

    /// Takes this learning rate as the user's intention.
    pub(crate) fn accept_learning_rate(&self, state: &mut DetectorState, signals: &Signals<'_>) {
        self.learning_rate_jump
            .accept_as_meant(&mut state.learning_rate_jump, signals.reading.learning_rate);
    }

    /// Default settings at a sensitivity in `0..=1`, where 0.5 is the default itself: every
    /// threshold is raised to the power `4^(0.5 - sensitivity)`, and those in deviations are
    /// multiplied by it. A spike is at least 100 times the median at 0, and 3.2 times at 1.
    ///
    /// Monotone: from the same past, what is harmful at one sensitivity is harmful at every higher
    /// one.
    pub(crate) fn at_sensitivity(sensitivity: f64) -> Self {
        Self::default().with_power(4f64.powf(0.5 - sensitivity))
    }

    /// Bounds of the next reading at this learning rate, within which no detector sees harm. `None`
    /// where there are none: during the warm-up of the scales, after a step that was not applied,
    /// or for a learning rate that is negative or not finite.
    pub(crate) fn quiet(&self, state: &DetectorState, learning_rate: f64) -> Option<Quiet> {
        if !learning_rate.is_finite() || learning_rate < 0.0 {
            return None;
        }
        let next = Next {
            learning_rate,
            losses: self.losses(&state.losses),
        };
        let bounds = Quiet::around(state.weight_growth.last_norm()?);
        self.quiet_each(state, &next, bounds)
    }

    fn losses<'a>(&self, scale: &'a super::RunningScale) -> Losses<'a> {
        let spread = scale.spread();
        Losses {
            scale,
            spread,
            largest_usual: spread.and_then(|spread| self.loss_spike.largest_usual(&spread)),
        }
    }
}
