use serde::{Deserialize, Serialize};

use super::interface::MOST_REMEMBERED;
use super::scale::{RunningScale, Spread};
use crate::setting::{self, SettingError};

/// When a positive quantity stands out from its running scale, on a logarithmic scale.
///
/// It must lie above all three:
///
/// - the running median, by `z` deviations (`1.4826 MAD`) and `ratio` times;
/// - `margin` times the largest value of the window;
/// - `margin` times the level at which the run began.
///
/// The first alone fires on healthy runs. Gradient norms have heavy tails, which a MAD does not
/// see, hence the largest value. The norms of a model that has learnt its data are near zero, and
/// there a single hard sample is a thousandfold jump, back to where the run began.
///
/// Defaults: window 128 (OLMo's SkipStep), warm-up 20, ratio 10 (Megatron-LM's rerun check), z 8
/// and margin 4 (measured: `examples/guard_on_streams.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OutlierBound {
    /// How many past values are remembered.
    pub window: usize,
    /// Values seen before the first judgement.
    pub warmup: usize,
    /// Robust deviations above the median.
    pub z: f64,
    /// Multiple of the median.
    pub ratio: f64,
    /// Multiple of the largest value of the window, and of the level at the start.
    pub margin: f64,
}

impl Default for OutlierBound {
    fn default() -> Self {
        Self {
            window: 128,
            warmup: 20,
            z: 8.0,
            ratio: 10.0,
            margin: 4.0,
        }
    }
}

impl OutlierBound {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        setting::count("window", self.window, 1, MOST_REMEMBERED)?;
        setting::count("warmup", self.warmup, 1, self.window)?;
        setting::above("z", self.z, 0.0)?;
        setting::above("ratio", self.ratio, 1.0)?;
        setting::at_least("margin", self.margin, 1.0)
    }

    /// All thresholds to the power of `power`.
    pub(super) fn with_power(self, power: f64) -> Self {
        Self {
            z: self.z * power,
            ratio: self.ratio.powf(power),
            margin: self.margin.powf(power),
            ..self
        }
    }

    /// The largest usual value; `None` during the warm-up, and where it is beyond f64.
    pub(super) fn usual(&self, scale: &RunningScale) -> Option<f64> {
        let Spread {
            median,
            sigma,
            max,
            start,
        } = scale.spread()?;
        let margin = self.margin.ln();
        let by_spread = median + (self.z * sigma).max(self.ratio.ln());
        let bound = by_spread.max(max + margin).max(start + margin).exp();
        bound.is_finite().then_some(bound)
    }

    /// Remembers a value. Zero, negative and non-finite values have no logarithm and are not
    /// remembered.
    pub(super) fn remember(&self, scale: &mut RunningScale, value: f64) {
        scale.push(value.ln(), self.window, self.warmup);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(bound: OutlierBound, values: &[f64]) -> Option<f64> {
        let mut scale = RunningScale::default();
        for value in values {
            bound.remember(&mut scale, *value);
        }
        bound.usual(&scale)
    }

    #[test]
    fn each_of_the_three_can_decide() {
        let bound = OutlierBound {
            warmup: 3,
            window: 3,
            ..OutlierBound::default()
        };
        let near = |value: Option<f64>, expected: f64| {
            assert!((value.unwrap() / expected - 1.0).abs() < 1e-12, "{value:?}");
        };
        near(usual(bound, &[1.0, 1.0, 1.0]), 10.0);
        near(usual(bound, &[1.0, 1.0, 20.0]), 80.0);
        near(usual(bound, &[100.0, 100.0, 100.0, 1.0, 1.0, 1.0]), 400.0);
        let sigma = 1.482_602_218_505_602 * std::f64::consts::LN_2;
        near(usual(bound, &[0.5, 1.0, 2.0]), (8.0 * sigma).exp());
    }

    #[test]
    fn zero_and_non_finite_values_are_not_remembered() {
        let bound = OutlierBound {
            warmup: 1,
            ..OutlierBound::default()
        };
        assert_eq!(usual(bound, &[0.0, -1.0, f64::NAN, f64::INFINITY]), None);
        // Beyond f64 there is no bound to hold to.
        assert_eq!(usual(bound, &[f64::MAX]), None);
    }
}
