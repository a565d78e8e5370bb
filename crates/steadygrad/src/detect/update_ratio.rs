use serde::{Deserialize, Serialize};

use super::bound::OutlierBound;
use super::interface::{Detect, Sighting};
use super::quiet::{Next, Quiet};
use super::scale::RunningScale;
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// The update is too large for the weights, both norms over all parameters.
///
/// Two ratios are watched. *Planned*: `learning_rate * global_norm / weight_norm`, before the
/// update is applied; exact for SGD, and of the raw gradient for adaptive optimizers. *Measured*:
/// `update_norm / weight_norm` of the previous step, where the adapter measures it: Adam's updates
/// spike before the loss does.
///
/// - Planned above `max_ratio`: [`Severity::Note`]. Default 0.1: the upper end of the healthy range
///   1e-4..1e-1 of TheDeepChecker (Ben Braiek and Khomh, 2022). Only a note, because an adaptive
///   optimizer's step does not depend on the gradient's scale.
/// - Planned above `max_ratio` *and* `harmful_ratio` times beyond its own running scale:
///   [`Severity::Harmful`].
/// - Measured beyond its running scale: [`Severity::Suspicious`]; above `max_ratio` and
///   `harmful_ratio` times beyond it as well: [`Severity::Damage`], since it was applied.
///
/// The place is the weight with the largest ratio of its own. Silent where a norm is not finite or
/// the weights are all zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UpdateRatio {
    /// Largest healthy ratio.
    pub max_ratio: f64,
    /// What is usual.
    pub bound: OutlierBound,
    /// Multiple of the bound that is harmful.
    pub harmful_ratio: f64,
}

impl Default for UpdateRatio {
    fn default() -> Self {
        Self {
            max_ratio: 0.1,
            bound: OutlierBound::default(),
            harmful_ratio: 10.0,
        }
    }
}

/// The running scales of both ratios.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct UpdateRatioState {
    planned: RunningScale,
    measured: RunningScale,
}

fn planned(signals: &Signals<'_>) -> f64 {
    signals.learning_rate * signals.applied_norm / signals.weight_norm
}

fn measured(signals: &Signals<'_>) -> f64 {
    signals.update_norm / signals.weight_norm
}

impl UpdateRatio {
    fn check_measured(&self, state: &UpdateRatioState, signals: &Signals<'_>) -> Option<Sighting> {
        let ratio = measured(signals);
        let usual = self.bound.usual(&state.measured)?;
        if !ratio.is_finite() || ratio <= usual {
            return None;
        }
        let applied = ratio > self.max_ratio && ratio > self.harmful_ratio * usual;
        let norms = signals.reading.update_norms.iter().copied();
        let (place, worst) = self.worst(signals, norms, 1.0);
        Some(Sighting {
            severity: if applied {
                Severity::Damage
            } else {
                Severity::Suspicious
            },
            place,
            value: ratio,
            threshold: usual,
            message: format!(
                "the last update was {ratio:.3e} of all weights; \
                 usual is at most {usual:.3e}{worst}"
            ),
        })
    }

    fn check_planned(&self, state: &UpdateRatioState, signals: &Signals<'_>) -> Option<Sighting> {
        let ratio = planned(signals);
        if !ratio.is_finite() || ratio <= self.max_ratio {
            return None;
        }
        let usual = self.bound.usual(&state.planned).unwrap_or(f64::INFINITY);
        let tensors = signals.reading.gradients.tensors.iter();
        let norms = tensors.map(|tensor| tensor.stats.tensor_norm);
        let (place, worst) = self.worst(signals, norms, signals.learning_rate);
        Some(Sighting {
            severity: if ratio > self.harmful_ratio * usual {
                Severity::Harmful
            } else {
                Severity::Note
            },
            place,
            value: ratio,
            threshold: self.max_ratio,
            message: format!(
                "one update is {ratio:.3e} of all weights (healthy: below {}){worst}",
                self.max_ratio
            ),
        })
    }

    /// The weight that moves most, and a clause about it.
    fn worst(
        &self,
        signals: &Signals<'_>,
        moves: impl Iterator<Item = f64>,
        factor: f64,
    ) -> (Place, String) {
        let tensors = &signals.reading.gradients.tensors;
        tensors
            .iter()
            .zip(moves)
            .zip(&signals.reading.weight_norms)
            // A weight far below the others (a bias that starts at zero) says nothing.
            .filter(|(_, norm)| **norm > 1e-3 * signals.weight_norm)
            .map(|((tensor, moved), norm)| (&tensor.name, factor * moved / norm))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or((Place::Run, String::new()), |(name, ratio)| {
                (
                    Place::Parameter(name.clone()),
                    format!("; `{name}` moves by {ratio:.3e} of itself"),
                )
            })
    }
}

impl Detect for UpdateRatio {
    type State = UpdateRatioState;

    const TITLE: &'static str = "update ratio";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("max_ratio", self.max_ratio, 0.0)?;
        let bound = self.bound.validate();
        bound.map_err(|error| error.within("bound"))?;
        setting::at_least("harmful_ratio", self.harmful_ratio, 1.0)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            max_ratio: self.max_ratio,
            bound: self.bound.with_power(power),
            harmful_ratio: self.harmful_ratio.powf(power),
        }
    }

    /// Judges the measured ratio, or else the planned one.
    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        self.check_measured(state, signals)
            .or_else(|| self.check_planned(state, signals))
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        self.bound.remember(&mut state.planned, planned(signals));
        self.bound.remember(&mut state.measured, measured(signals));
    }

    fn reject(&self, _state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(state: &mut Self::State) {
        *state = Self::State::default();
    }

    /// Below the norm whose planned update harms the smallest weights.
    fn quiet(&self, state: &Self::State, next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        let usual = self.bound.usual(&state.planned).unwrap_or(f64::INFINITY);
        // Away from where rounding would decide.
        let ratio = (1.0 - 1e-9) * self.max_ratio.max(self.harmful_ratio * usual);
        let most = if next.learning_rate > 0.0 {
            ratio * bounds.least_weight_norm / next.learning_rate
        } else {
            f64::INFINITY
        };
        Some(bounds.with_norm(most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;
    use crate::StepReading;

    fn once(reading: &StepReading) -> Option<Sighting> {
        UpdateRatio::default().check(&UpdateRatioState::default(), &Signals::of(reading))
    }

    fn after(usual: &StepReading, odd: &StepReading) -> Option<Severity> {
        let (rule, mut state) = (UpdateRatio::default(), UpdateRatioState::default());
        for _ in 0..30 {
            rule.accept(&mut state, &Signals::of(usual), false);
        }
        rule.check(&state, &Signals::of(odd))
            .map(|seen| seen.severity)
    }

    #[test]
    fn a_note_above_the_ratio_only() {
        // learning rate 0.01, weight norm 1: the ratio is 0.01 * |g|.
        assert_eq!(once(&reading(0, 1.0, 9.0)), None);
        let seen = once(&reading(0, 1.0, 20.0)).unwrap();
        assert_eq!((seen.place, seen.severity), (at_w(), Severity::Note));
        assert!((seen.value - 0.2).abs() < 1e-12);
    }

    #[test]
    fn harmful_beyond_its_own_scale_as_well() {
        let usual = reading(0, 1.0, 1.0);
        assert_eq!(after(&usual, &reading(1, 1.0, 90.0)), Some(Severity::Note));
        assert_eq!(
            after(&usual, &reading(1, 1.0, 110.0)),
            Some(Severity::Harmful)
        );
        // A hundredfold jump of a learning rate is one of the update.
        let mut jump = usual.clone();
        jump.learning_rate *= 101.0;
        assert_eq!(after(&usual, &jump), Some(Severity::Harmful));
    }

    #[test]
    fn a_measured_update_that_was_applied_is_damage() {
        let with = |update: f64| reading(0, 1.0, 1.0).with_update_norms(vec![update]);
        assert_eq!(after(&with(0.01), &with(0.09)), None);
        assert_eq!(after(&with(0.01), &with(0.11)), Some(Severity::Suspicious));
        assert_eq!(after(&with(0.01), &with(1.1)), Some(Severity::Damage));
        // A hundred times a tiny update is still no damage.
        assert_eq!(
            after(&with(1e-6), &with(1.1e-4)),
            Some(Severity::Suspicious)
        );
        assert_eq!(after(&with(0.01), &with(f64::NAN)), None);
    }

    #[test]
    fn odd_rows_are_silent() {
        for gradient in [0.0, f32::NAN, f32::INFINITY] {
            assert_eq!(once(&reading(0, 1.0, gradient)), None);
        }
        let large = || reading(0, 1.0, 1e6);
        assert_eq!(once(&large().with_weight_norms(vec![])), None);
        assert_eq!(once(&large().with_weight_norms(vec![0.0])), None);
        assert_eq!(once(&large().with_weight_norms(vec![-1.0])), None);
        assert_eq!(once(&StepReading::default()), None);
    }
}
