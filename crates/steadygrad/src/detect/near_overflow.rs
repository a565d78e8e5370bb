use serde::{Deserialize, Serialize};

use super::interface::{Detect, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};

/// A finite gradient value is so large that its square overflows, and with it Adam's second moment:
/// [`Severity::Harmful`].
///
/// Default 1.8e19, the square root of f32's largest number. For f16 use 255. Silent for a gradient
/// that is zero, empty or not finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NearOverflow {
    /// Largest absolute value that is no harm.
    pub max_abs: f64,
}

impl Default for NearOverflow {
    fn default() -> Self {
        Self { max_abs: 1.8e19 }
    }
}

impl Detect for NearOverflow {
    type State = ();

    const TITLE: &'static str = "near overflow";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("max_abs", self.max_abs, 0.0)
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    fn check(&self, (): &(), signals: &Signals<'_>) -> Option<Sighting> {
        let tensors = signals.reading.gradients.tensors.iter();
        let worst = tensors.max_by(|a, b| a.stats.max_abs.total_cmp(&b.stats.max_abs))?;
        let largest = worst.stats.max_abs;
        (largest > self.max_abs).then(|| Sighting {
            severity: Severity::Harmful,
            place: Place::Parameter(worst.name.clone()),
            value: largest,
            threshold: self.max_abs,
            message: format!(
                "a gradient value of `{}` is {largest:.3e}: its square is about to overflow",
                worst.name
            ),
        })
    }

    fn accept(&self, (): &mut (), _signals: &Signals<'_>, _clipped: bool) {}

    fn reject(&self, (): &mut (), _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level((): &mut ()) {}

    /// The largest value is at most the norm.
    fn quiet(&self, (): &(), _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds.with_norm(self.max_abs))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;
    use crate::StepReading;

    #[test]
    fn fires_beyond_the_largest_value_only() {
        let rule = NearOverflow::default();
        let seen = |gradient| rule.check(&(), &Signals::of(&reading(0, 1.0, gradient)));
        assert_eq!(seen(1.9e19).map(|seen| seen.place), Some(at_w()));
        for gradient in [0.0, 1.7e19, f32::NAN, f32::INFINITY] {
            assert_eq!(seen(gradient), None);
        }
        let empty = StepReading::default();
        assert_eq!(rule.check(&(), &Signals::of(&empty)), None);
    }
}
