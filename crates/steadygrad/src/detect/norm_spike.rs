use serde::{Deserialize, Serialize};

use super::bound::OutlierBound;
use super::interface::{Detect, Sighting};
use super::quiet::{Next, Quiet};
use super::scale::RunningScale;
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The global norm, as it would be applied, jumped out of its running scale.
///
/// [`Severity::Suspicious`] beyond the [`OutlierBound`], [`Severity::Harmful`] beyond
/// `harmful_ratio` times the bound. A norm that is not finite is left to
/// [`NonFinite`](struct@super::NonFinite).
///
/// Default `harmful_ratio` 10: with the bound's own defaults, a harmful norm is at least a hundred
/// times the median and forty times the largest of 128 steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NormSpike {
    /// What is usual.
    pub bound: OutlierBound,
    /// Multiple of the bound that is harmful.
    pub harmful_ratio: f64,
}

impl Default for NormSpike {
    fn default() -> Self {
        Self {
            bound: OutlierBound::default(),
            harmful_ratio: 10.0,
        }
    }
}

impl Detect for NormSpike {
    type State = RunningScale;

    const TITLE: &'static str = "norm spike";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        let bound = self.bound.validate();
        bound.map_err(|error| error.within("bound"))?;
        setting::at_least("harmful_ratio", self.harmful_ratio, 1.0)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            bound: self.bound.with_power(power),
            harmful_ratio: self.harmful_ratio.powf(power),
        }
    }

    fn check(&self, scale: &RunningScale, signals: &Signals<'_>) -> Option<Sighting> {
        let norm = signals.applied_norm;
        let usual = self.bound.usual(scale)?;
        if !norm.is_finite() || norm <= usual {
            return None;
        }
        let (place, carries) = match signals.reading.gradients.largest_share() {
            Some((name, share)) => (
                Place::Parameter(name.to_owned()),
                format!("; `{name}` carries {:.0} % of its square", 100.0 * share),
            ),
            None => (Place::Run, String::new()),
        };
        Some(Sighting {
            severity: if norm > self.harmful_ratio * usual {
                Severity::Harmful
            } else {
                Severity::Suspicious
            },
            place,
            value: norm,
            threshold: usual,
            message: format!(
                "the global norm jumped to {norm:.3e}; usual is at most {usual:.3e}{carries}"
            ),
        })
    }

    /// Remembers a clipped norm as clipped, so that a single spike does not widen what is usual for
    /// the next.
    fn accept(&self, scale: &mut RunningScale, signals: &Signals<'_>, _clipped: bool) {
        let usual = self.bound.usual(scale).unwrap_or(f64::INFINITY);
        self.bound.remember(scale, signals.applied_norm.min(usual));
    }

    fn reject(&self, _scale: &mut RunningScale, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(scale: &mut RunningScale) {
        *scale = RunningScale::default();
    }

    fn quiet(&self, scale: &RunningScale, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds.with_norm(self.bound.usual(scale)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    /// Steps and severities of a stream in which nothing harmful is accepted.
    fn run(gradients: &[f32]) -> Vec<(u64, Severity)> {
        let (rule, mut scale) = (NormSpike::default(), RunningScale::default());
        let mut all = Vec::new();
        for (step, gradient) in gradients.iter().enumerate() {
            let reading = reading(step as u64, 1.0, *gradient);
            let signals = Signals::of(&reading);
            let seen = rule.check(&scale, &signals);
            if seen
                .as_ref()
                .is_none_or(|seen| seen.severity < Severity::Harmful)
            {
                rule.accept(&mut scale, &signals, false);
            }
            all.extend(seen.map(|seen| (reading.step, seen.severity)));
        }
        all
    }

    #[test]
    fn a_jump_is_seen_by_its_size_and_a_slow_rise_is_not() {
        let mut jump = vec![1.0; 20];
        jump.extend([9.0, 40.0, 1e4, 1.0]);
        // 9 is now the largest, so 36 is the bound, and from there on 144.
        assert_eq!(
            run(&jump),
            [(21, Severity::Suspicious), (22, Severity::Harmful)]
        );
        let slow: Vec<f32> = (0..200).map(|step| 1.4f32.powi(step)).collect();
        assert_eq!(run(&slow), []);
    }

    #[test]
    fn a_jump_back_towards_the_start_is_no_spike() {
        let mut converged = vec![1.0; 20];
        converged.extend([0.001; 130]);
        converged.push(0.5);
        assert_eq!(run(&converged), []);
        converged.push(50.0);
        assert_eq!(run(&converged), [(151, Severity::Harmful)]);
    }

    #[test]
    fn warm_up_zero_and_non_finite_rows() {
        assert_eq!(run(&[1.0, 1e6, 1.0]), []);
        assert_eq!(run(&[0.0; 40]), []);
        let mut nan = vec![1.0; 20];
        nan.extend([f32::NAN, f32::INFINITY, 1.0, 1e4]);
        // Neither fires here nor blinds: the jump after it is still seen.
        assert_eq!(run(&nan), [(23, Severity::Harmful)]);
    }
}
