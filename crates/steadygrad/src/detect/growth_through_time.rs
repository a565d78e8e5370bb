use serde::{Deserialize, Serialize};

use super::growth_through_depth::check_axis;
use super::{Detection, Detector, Signals};
use crate::dynamics::Axis;

/// The gradient grows by more than a factor `max_growth` per time step.
///
/// [`Severity::Note`](super::Severity::Note), once, until it has been below again. Default 1.1: past AutoTrainer's
/// ratio of 70 (ICSE 2021) in 45 time steps, and 1.4e4 in 100.
/// Silent where the adapter does not measure it, and for NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrowthThroughTime {
    /// Largest healthy factor.
    pub max_growth: f64,
}

impl Default for GrowthThroughTime {
    fn default() -> Self {
        Self { max_growth: 1.1 }
    }
}

impl GrowthThroughTime {
    /// Judges one reading; `told` is whether it was above already.
    pub fn check(&self, told: &bool, signals: &Signals<'_>) -> Option<Detection> {
        let growth = signals.reading.time_growth?;
        let detector = Detector::GrowthThroughTime;
        check_axis(
            detector,
            Axis::Time,
            growth,
            self.max_growth,
            *told,
            signals,
        )
    }

    /// Remembers whether it is above; a gap in the measurement changes nothing.
    pub(crate) fn accept(&self, told: &mut bool, signals: &Signals<'_>) {
        if let Some(growth) = signals.reading.time_growth {
            *told = growth.exp() > self.max_growth;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    #[test]
    fn fires_once_and_again_after_a_pause() {
        let (rule, mut told) = (GrowthThroughTime::default(), false);
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
            reading.time_growth = growth;
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
