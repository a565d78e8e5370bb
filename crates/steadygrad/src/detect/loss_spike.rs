use serde::{Deserialize, Serialize};

use super::{Detection, Detector, RunningScale, Severity, Signals};
use crate::Place;

/// The loss jumped out of its running scale.
///
/// Harmful above all three of: `z` deviations (`1.4826 MAD`, or `floor` of the median where that is
/// more) over the running median; `span` times as far over the median as the largest loss of the
/// window; and, where the run has made progress, the loss at its start by `setback` of that
/// progress. [`Severity::Suspicious`] from 0.6 of the way there. Losses may be negative: shifting or
/// scaling them all changes nothing but the floor. Silent where all losses were zero.
///
/// The start matters because a model that has learnt its data has losses near zero, of which a
/// single hard sample is a thousandfold: no harm, while worse than untrained is.
///
/// Defaults: window 128 (OLMo's SkipStep); warm-up 20; z 12, span 4, setback 0.5 and floor 0.02
/// measured (`examples/guard_on_streams.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossSpike {
    /// How many losses are remembered.
    pub window: usize,
    /// Losses seen before the first judgement.
    pub warmup: usize,
    /// Robust deviations over the median.
    pub z: f64,
    /// Times the way from the median to the largest loss.
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
    /// The median and the largest loss that is no harm; `None` during the warm-up.
    pub(super) fn usual(&self, scale: &RunningScale) -> Option<(f64, f64)> {
        let spread = scale.spread()?;
        let median = spread.median;
        let sigma = spread.sigma.max(self.floor * median.abs());
        let progress = (spread.start - median).max(0.0);
        let bound = (median + self.z * sigma)
            .max(median + self.span * (spread.max - median))
            .max(spread.start + self.setback * progress);
        (bound.is_finite() && sigma > 0.0).then_some((median, bound))
    }

    /// Judges one reading against the past.
    pub fn check(&self, scale: &RunningScale, signals: &Signals<'_>) -> Option<Detection> {
        let loss = signals.reading.loss;
        let (median, bound) = self.usual(scale)?;
        if !loss.is_finite() || loss <= median + SUSPICIOUS * (bound - median) {
            return None;
        }
        Some(Detection {
            detector: Detector::LossSpike,
            severity: if loss > bound {
                Severity::Harmful
            } else {
                Severity::Suspicious
            },
            step: signals.reading.step,
            place: Place::Run,
            value: loss,
            threshold: bound,
            message: format!(
                "the loss jumped to {loss:.3e} from a median of {median:.3e}; at most {bound:.3e} is \
                 usual"
            ),
        })
    }

    /// Remembers a loss that was no harm.
    pub(crate) fn accept(&self, scale: &mut RunningScale, signals: &Signals<'_>) {
        scale.push(signals.reading.loss, self.window, self.warmup);
    }

    /// 1 leaves it, less makes it more sensitive.
    pub(super) fn scaled(self, power: f64) -> Self {
        Self {
            z: self.z * power,
            // 1 is the largest loss itself.
            span: 1.0 + (self.span - 1.0) * power,
            setback: self.setback * power,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(losses: impl IntoIterator<Item = f64>) -> Vec<(u64, Severity)> {
        let (rule, mut scale) = (LossSpike::default(), RunningScale::default());
        let mut all = Vec::new();
        for (step, loss) in losses.into_iter().enumerate() {
            let reading = reading(step as u64, loss, 1.0);
            let signals = Signals::of(&reading);
            let seen = rule.check(&scale, &signals);
            if seen
                .as_ref()
                .is_none_or(|seen| seen.severity < Severity::Harmful)
            {
                rule.accept(&mut scale, &signals);
            }
            all.extend(seen.map(|seen| (seen.step, seen.severity)));
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
