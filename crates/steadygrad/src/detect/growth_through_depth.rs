use serde::{Deserialize, Serialize};

use super::{Detection, Detector, Severity, Signals};
use crate::Place;
use crate::dynamics::Axis;

/// The gradient grows by more than a factor `max_growth` per layer.
///
/// [`Severity::Note`], once, until it has been below again. Default 2: TheDeepChecker's growth rate
/// (Ben Braiek and Khomh, 2022).
/// Silent where the adapter does not measure it, and for NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrowthThroughDepth {
    /// Largest healthy factor.
    pub max_growth: f64,
}

impl Default for GrowthThroughDepth {
    fn default() -> Self {
        Self { max_growth: 2.0 }
    }
}

impl GrowthThroughDepth {
    /// Judges one reading; `told` is whether it was above already.
    pub fn check(&self, told: &bool, signals: &Signals<'_>) -> Option<Detection> {
        let growth = signals.reading.depth_growth?;
        let detector = Detector::GrowthThroughDepth;
        check_axis(
            detector,
            Axis::Depth,
            growth,
            self.max_growth,
            *told,
            signals,
        )
    }

    /// Remembers whether it is above; a gap in the measurement changes nothing.
    pub(crate) fn accept(&self, told: &mut bool, signals: &Signals<'_>) {
        if let Some(growth) = signals.reading.depth_growth {
            *told = growth.exp() > self.max_growth;
        }
    }
}

/// The rule itself, for growth through depth and through time; `growth` is a logarithm.
pub(super) fn check_axis(
    detector: Detector,
    axis: Axis,
    growth: f64,
    max_growth: f64,
    told: bool,
    signals: &Signals<'_>,
) -> Option<Detection> {
    let growth = growth.exp();
    (!told && growth > max_growth).then(|| Detection {
        detector,
        severity: Severity::Note,
        step: signals.reading.step,
        place: Place::Run,
        value: growth,
        threshold: max_growth,
        message: format!(
            "the gradient grows by {growth:.3} per {} on its way back (healthy: below {max_growth})",
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
            rule.accept(&mut told, &signals);
            seen.is_some()
        });
        assert_eq!(
            fired,
            [false, false, true, false, false, false, false, true]
        );
    }
}
