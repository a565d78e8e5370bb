use serde::{Deserialize, Serialize};

use super::{Detection, Detector, Severity, Signals};
use crate::Place;

/// A finite gradient value so large that its square overflows, and with it Adam's second moment:
/// [`Severity::Harmful`].
///
/// Default 1.8e19, the square root of f32's largest number. For f16 use 255. An all-zero, empty or
/// non-finite gradient has no such value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NearOverflow {
    /// Largest absolute value that is no harm.
    pub max_abs: f64,
}

impl Default for NearOverflow {
    fn default() -> Self {
        Self { max_abs: 1.8e19 }
    }
}

impl NearOverflow {
    /// Looks at one reading. Keeps no state.
    pub fn check(&self, signals: &Signals<'_>) -> Option<Detection> {
        let tensors = signals.reading.gradients.tensors.iter();
        let worst = tensors.max_by(|a, b| a.stats.max_abs.total_cmp(&b.stats.max_abs))?;
        let largest = worst.stats.max_abs;
        (largest > self.max_abs).then(|| Detection {
            detector: Detector::NearOverflow,
            severity: Severity::Harmful,
            step: signals.reading.step,
            place: Place::Parameter(worst.name.clone()),
            value: largest,
            threshold: self.max_abs,
            message: format!(
                "a gradient value of `{}` is {largest:.3e}: its square is about to overflow",
                worst.name
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;
    use crate::StepReading;

    #[test]
    fn fires_beyond_the_largest_value_only() {
        let seen =
            |gradient| NearOverflow::default().check(&Signals::of(&reading(0, 1.0, gradient)));
        assert_eq!(seen(1.9e19).map(|seen| seen.place), Some(at_w()));
        for gradient in [0.0, 1.7e19, f32::NAN, f32::INFINITY] {
            assert_eq!(seen(gradient), None);
        }
        let empty = StepReading::default();
        assert_eq!(NearOverflow::default().check(&Signals::of(&empty)), None);
    }
}
