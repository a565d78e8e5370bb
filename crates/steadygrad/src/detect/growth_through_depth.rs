use serde::{Deserialize, Serialize};

use super::interface::{Detect, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::dynamics::Axis;
use crate::setting::{self, SettingError};

/// The gradient grows by more than a factor `max_growth` per layer.
///
/// [`Severity::Note`], once. It speaks again after the growth was below. Default 2:
/// TheDeepChecker's growth rate (Ben Braiek and Khomh, 2022). Silent where the adapter does not
/// measure the growth, and for NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GrowthThroughDepth {
    /// Largest healthy factor.
    pub max_growth: f64,
}

impl Default for GrowthThroughDepth {
    fn default() -> Self {
        Self { max_growth: 2.0 }
    }
}

impl Detect for GrowthThroughDepth {
    /// Whether the growth was above already.
    type State = bool;

    const TITLE: &'static str = "growth through depth";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("max_growth", self.max_growth, 0.0)
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    fn check(&self, told: &bool, signals: &Signals<'_>) -> Option<Sighting> {
        let growth = signals.reading.depth_growth?;
        see_growth(Axis::Depth, growth, self.max_growth).filter(|_| !told)
    }

    /// Remembers whether the growth is above; a gap in the measurement changes nothing.
    fn accept(&self, told: &mut bool, signals: &Signals<'_>, _clipped: bool) {
        if let Some(growth) = signals.reading.depth_growth {
            *told = growth.exp() > self.max_growth;
        }
    }

    fn reject(&self, _told: &mut bool, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(_told: &mut bool) {}

    fn quiet(&self, _told: &bool, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }
}

/// What there is to see along an axis; `growth` is a logarithm.
pub(super) fn see_growth(axis: Axis, growth: f64, max_growth: f64) -> Option<Sighting> {
    let growth = growth.exp();
    (growth > max_growth).then(|| Sighting {
        severity: Severity::Note,
        place: Place::Run,
        value: growth,
        threshold: max_growth,
        message: format!(
            "the gradient grows by {growth:.3} per {} on its way back \
             (healthy: below {max_growth})",
            axis.unit()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    #[test]
    fn fires_once_and_again_after_a_pause() {
        let (rule, mut told) = (GrowthThroughDepth::default(), false);
        let high = Some(1.0);
        let rows = [
            None,
            Some(0.0),
            high,
            high,
            None,
            high,
            Some(f64::NAN),
            high,
        ];
        let fired = rows.map(|growth| {
            let mut reading = reading(0, 1.0, 1.0);
            reading.depth_growth = growth;
            let signals = Signals::of(&reading);
            let seen = rule.check(&told, &signals);
            rule.accept(&mut told, &signals, false);
            seen.is_some()
        });
        assert_eq!(
            fired,
            [false, false, true, false, false, false, false, true]
        );
    }
}
