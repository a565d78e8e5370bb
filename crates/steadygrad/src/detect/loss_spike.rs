use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::scale::{RunningScale, Spread};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The loss jumped out of its running scale.
///
/// A harmful loss is above all three:
///
/// - the running median, by `z` deviations (`1.4826 MAD`, or `floor` of the median where that is
///   more);
/// - the running median, by `span` times the way from there to the largest loss of the window;
/// - the loss at the start, by `setback` of the progress, where the run has made progress.
///
/// From 0.6 of the way there it is [`Severity::Suspicious`]. Losses may be negative: shifting or
/// scaling them all changes nothing but the floor. Silent where all losses were zero.
///
/// The start matters because a model that has learnt its data has losses near zero. A single hard
/// sample is a thousand times such a loss, and no harm; a loss above the untrained one is.
///
/// Its window and warm-up are those of all detectors that judge by the losses so far.
///
/// Defaults: window 128 (OLMo's SkipStep); warm-up 20; z 12, span 4, setback 0.5 and floor 0.02
/// measured (`examples/guard_on_streams.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LossSpike {
    /// How many losses are remembered.
    pub window: usize,
    /// Losses seen before the first judgement.
    pub warmup: usize,
    /// Robust deviations above the median.
    pub z: f64,
    /// Multiple of the way from the median to the largest loss.
    pub span: f64,
    /// Share of the progress so far, above the loss at the start.
    pub setback: f64,
    /// Least deviation, as a share of the median.
    pub floor: f64,
}

/// The share of the way to harm from which on a loss is suspicious: half of the deviations of
/// OLMo's rule at the default z, which is what that rule calls a spike.
const SUSPICIOUS: f64 = 0.6;

impl Default for LossSpike {
    fn default() -> Self {
        Self {
            window: 128,
            warmup: 20,
            z: 12.0,
            span: 4.0,
            setback: 0.5,
            floor: 0.02,
        }
    }
}

impl LossSpike {
    /// The largest loss that is no harm; `None` where the losses are beyond f64 or were all zero.
    pub(super) fn largest_usual(&self, spread: &Spread) -> Option<f64> {
        let median = spread.median;
        let sigma = spread.sigma.max(self.floor * median.abs());
        let progress = (spread.start - median).max(0.0);
        let bound = (median + self.z * sigma)
            .max(median + self.span * (spread.max - median))
            .max(spread.start + self.setback * progress);
        (bound.is_finite() && sigma > 0.0).then_some(bound)
    }

    /// Remembers a loss that was no harm; losses that are not finite are not remembered.
    pub(super) fn remember(&self, losses: &mut RunningScale, loss: f64) {
        losses.push(loss, self.window, self.warmup);
    }
}

impl Detect for LossSpike {
    /// Its losses are shared: see [`Losses`](super::signals::Losses).
    type State = ();

    const TITLE: &'static str = "loss spike";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = true;

    fn validate(&self) -> Result<(), SettingError> {
        setting::count("window", self.window, 1, MOST_REMEMBERED)?;
        setting::count("warmup", self.warmup, 1, self.window)?;
        setting::above("z", self.z, 0.0)?;
        setting::at_least("span", self.span, 1.0)?;
        setting::at_least("setback", self.setback, 0.0)?;
        setting::at_least("floor", self.floor, 0.0)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            z: self.z * power,
            // 1 is the largest loss itself.
            span: 1.0 + (self.span - 1.0) * power,
            setback: self.setback * power,
            ..self
        }
    }

    fn check(&self, (): &(), signals: &Signals<'_>) -> Option<Sighting> {
        let loss = signals.reading.loss;
        let median = signals.losses.spread?.median;
        let bound = signals.losses.largest_usual?;
        if !loss.is_finite() || loss <= median + SUSPICIOUS * (bound - median) {
            return None;
        }
        Some(Sighting {
            severity: if loss > bound {
                Severity::Harmful
            } else {
                Severity::Suspicious
            },
            place: Place::Run,
            value: loss,
            threshold: bound,
            message: format!(
                "the loss jumped to {loss:.3e} from a median of {median:.3e}; at most {bound:.3e} \
                 is usual"
            ),
        })
    }

    fn accept(&self, (): &mut (), _signals: &Signals<'_>, _clipped: bool) {}

    fn reject(&self, (): &mut (), _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level((): &mut ()) {}

    fn quiet(&self, (): &(), next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(Quiet {
            loss: bounds.loss.min(next.losses.largest_usual?),
            ..bounds
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::signals::Losses;
    use super::super::testing::reading;
    use super::*;

    fn run(losses: impl IntoIterator<Item = f64>) -> Vec<(u64, Severity)> {
        let (rule, mut scale) = (LossSpike::default(), RunningScale::default());
        let mut all = Vec::new();
        for (step, loss) in losses.into_iter().enumerate() {
            let reading = reading(step as u64, loss, 1.0);
            let spread = scale.spread();
            let losses = Losses {
                scale: &scale,
                spread,
                largest_usual: spread.and_then(|spread| rule.largest_usual(&spread)),
            };
            let seen = rule.check(&(), &Signals::of(&reading).after(losses));
            if seen
                .as_ref()
                .is_none_or(|seen| seen.severity < Severity::Harmful)
            {
                rule.remember(&mut scale, loss);
            }
            all.extend(seen.map(|seen| (reading.step, seen.severity)));
        }
        all
    }

    fn noisy(level: f64, count: usize) -> impl Iterator<Item = f64> {
        (0..count).map(move |step| level * (1.0 + 0.05 * f64::from(step as u32 % 3)))
    }

    #[test]
    fn a_jump_is_seen_by_its_size() {
        // Median 1.05, deviation 0.074, bound 1.94; then 1.5 is the largest, and 2.85 the bound.
        let seen = run(noisy(1.0, 30).chain([1.5, 2.3, 9.0]));
        assert_eq!(seen, [(31, Severity::Suspicious), (32, Severity::Harmful)]);
        let negative = run(noisy(1.0, 30).chain([5.0]).map(|loss| loss - 8.0));
        assert_eq!(negative, [(30, Severity::Harmful)]);
    }

    #[test]
    fn a_hard_sample_of_a_learnt_task_is_no_spike_and_worse_than_untrained_is() {
        let learnt = || noisy(2.3, 20).chain(noisy(0.01, 130));
        assert_eq!(run(learnt().chain([1.0])), []);
        assert_eq!(run(learnt().chain([4.0])), [(150, Severity::Harmful)]);
    }

    #[test]
    fn warm_up_zero_equal_and_non_finite_rows() {
        assert_eq!(run([1.0, 100.0]), []);
        assert_eq!(run([0.0; 40].into_iter().chain([1.0])), []);
        let equal = [1.0; 40].into_iter().chain([1.1, 1.5]);
        assert_eq!(run(equal), [(41, Severity::Harmful)]);
        let odd = noisy(1.0, 30).chain([f64::NAN, f64::INFINITY, 5.0]);
        assert_eq!(run(odd), [(32, Severity::Harmful)]);
        assert_eq!(run(std::iter::repeat_n(f64::MAX, 40)), []);
    }
}
