use serde::{Deserialize, Serialize};

use super::interface::{Detect, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// At least half of the parameters have gradients below `min_rms` (root mean square of a value).
///
/// [`Severity::Note`], once, since a model that has learnt its data looks the same. It speaks again
/// after fewer parameters had. Default 1e-7: SageMaker Debugger's VanishingGradient, there for the
/// mean absolute value, which is never above the root mean square. The place is the parameter with
/// the smallest. Empty and non-finite tensors do not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Vanishing {
    /// Least root mean square of a gradient's values.
    pub min_rms: f64,
}

impl Default for Vanishing {
    fn default() -> Self {
        Self { min_rms: 1e-7 }
    }
}

impl Vanishing {
    /// How many parameters count, and how many of them have vanished.
    fn count(&self, signals: &Signals<'_>) -> (usize, usize) {
        let mut counts = (0, 0);
        for tensor in &signals.reading.gradients.tensors {
            let stats = &tensor.stats;
            if stats.len > 0 && stats.tensor_norm.is_finite() {
                counts.0 += 1;
                // Compared as norms: dividing a tiny one would make it zero.
                let least = self.min_rms * (stats.len as f64).sqrt();
                counts.1 += usize::from(stats.tensor_norm < least);
            }
        }
        counts
    }

    fn has_vanished(&self, signals: &Signals<'_>) -> bool {
        let (all, vanished) = self.count(signals);
        vanished > 0 && 2 * vanished >= all
    }
}

impl Detect for Vanishing {
    /// Whether they had vanished already.
    type State = bool;

    const TITLE: &'static str = "vanishing gradients";
    const IS_ABOUT_EXPLOSION: bool = false;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::at_least("min_rms", self.min_rms, 0.0)
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    fn check(&self, told: &bool, signals: &Signals<'_>) -> Option<Sighting> {
        if *told || !self.has_vanished(signals) {
            return None;
        }
        let (all, vanished) = self.count(signals);
        let tensors = signals.reading.gradients.tensors.iter();
        let (name, rms) = tensors
            .filter(|tensor| tensor.stats.len > 0 && tensor.stats.tensor_norm.is_finite())
            .map(|tensor| {
                let rms = tensor.stats.tensor_norm / (tensor.stats.len as f64).sqrt();
                (&tensor.name, rms)
            })
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Sighting {
            severity: Severity::Note,
            place: Place::Parameter(name.clone()),
            value: rms,
            threshold: self.min_rms,
            message: format!(
                "the gradients of {vanished} of {all} parameters are below {:.1e} a value, those \
                 of `{name}` {rms:.1e}: they vanish, or the model has learnt its data",
                self.min_rms
            ),
        })
    }

    fn accept(&self, told: &mut bool, signals: &Signals<'_>, _clipped: bool) {
        *told = self.has_vanished(signals);
    }

    fn reject(&self, _told: &mut bool, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(_told: &mut bool) {}

    fn quiet(&self, _told: &bool, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;
    use crate::StepReading;

    #[test]
    fn fires_once_and_again_after_a_pause() {
        let (rule, mut told) = (Vanishing::default(), false);
        let fired = [1.0, 1e-6, 1e-8, 0.0, 1.0, 1e-30].map(|gradient| {
            let reading = reading(0, 1.0, gradient);
            let signals = Signals::of(&reading);
            let seen = rule.check(&told, &signals);
            rule.accept(&mut told, &signals, false);
            seen.is_some()
        });
        assert_eq!(fired, [false, false, true, false, false, true]);
    }

    #[test]
    fn empty_and_non_finite_rows_are_silent() {
        let rule = Vanishing::default();
        let empty = StepReading::default();
        assert_eq!(rule.check(&false, &Signals::of(&empty)), None);
        for gradient in [f32::NAN, f32::INFINITY] {
            assert_eq!(
                rule.check(&false, &Signals::of(&reading(0, 1.0, gradient))),
                None
            );
        }
    }
}
