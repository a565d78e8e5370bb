//! Detectors, one a file: from a [`StepReading`](crate::StepReading) to [`Detection`]s.
//!
//! A detector's file has its settings with their ranges, its state, its judgement, its name and
//! what the sensitivity does to it (`interface` says what it must have). The list below names it
//! once. `check` judges a reading against the past and changes nothing. The guard decides
//! afterwards what is remembered. A harmful reading never enters a running scale, and a value that
//! is not finite cannot, so nothing blinds a detector for good. A lasting change of level is
//! accepted in the end: see [`recover`](crate::recover).
//!
//! | detector | looks at | severity |
//! |---|---|---|
//! | [`struct@NonFinite`] | gradients, loss, learning rate; weights | harmful; damage |
//! | [`NearOverflow`] | the largest gradient value | harmful |
//! | [`NormSpike`] | a jump of the global norm | suspicious, harmful |
//! | [`NormGrowth`] | a steady rise of the global norm | note; with the loss harmful |
//! | [`LossSpike`] | a jump of the loss | suspicious, harmful |
//! | [`LossDivergence`] | the loss against its mean and start | suspicious |
//! | [`LossRelapse`] | the loss against its start | harmful |
//! | [`UpdateRatio`] | update over weights, planned and measured | note, harmful; damage |
//! | [`Overshoot`] | the loss along a step | note; damage |
//! | [`WeightGrowth`] | weights from step to step | note; damage |
//! | [`LearningRateJump`] | the user's learning rate | harmful |
//! | [`GrowthThroughDepth`], [`GrowthThroughTime`] | measured growth rates | note |
//! | [`Vanishing`], [`ClipSaturation`] | tiny gradients, the clip rate | note |

mod bound;
mod clip_saturation;
mod growth_through_depth;
mod growth_through_time;
mod interface;
mod learning_rate_jump;
mod list;
mod loss_divergence;
mod loss_relapse;
mod loss_spike;
mod near_overflow;
mod non_finite;
mod norm_growth;
mod norm_spike;
mod overshoot;
mod quiet;
mod scale;
mod severity;
mod signals;
mod together;
mod update_ratio;
mod vanishing;
mod weight_growth;

pub use bound::OutlierBound;
pub use quiet::Quiet;
pub(crate) use scale::RunningScale;
pub use severity::Severity;
pub(crate) use signals::Signals;

use interface::{Detect, Sighting};
use quiet::Next;
use serde::{Deserialize, Serialize};

use crate::setting::SettingError;
use crate::{Place, float};

// In the order in which they are asked: the ladder takes the first of equally severe detections.
list::detectors! {
    #[serde(skip)]
    non_finite: NonFinite,
    near_overflow: NearOverflow,
    norm_spike: NormSpike,
    norm_growth: NormGrowth,
    loss_spike: LossSpike,
    loss_divergence: LossDivergence,
    loss_relapse: LossRelapse,
    update_ratio: UpdateRatio,
    overshoot: Overshoot,
    weight_growth: WeightGrowth,
    learning_rate_jump: LearningRateJump,
    growth_through_depth: GrowthThroughDepth,
    growth_through_time: GrowthThroughTime,
    vanishing: Vanishing,
    clip_saturation: ClipSaturation,
}

/// What a detector saw at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The detector.
    pub detector: Detector,
    /// How much is wrong.
    pub severity: Severity,
    /// The step.
    pub step: u64,
    /// Where in the network.
    pub place: Place,
    /// The number that was judged.
    #[serde(with = "float")]
    pub value: f64,
    /// The number it was judged against.
    #[serde(with = "float")]
    pub threshold: f64,
    /// One line for a person.
    pub message: String,
}

impl Detection {
    fn new(detector: Detector, step: u64, seen: Sighting) -> Self {
        Self {
            detector,
            severity: seen.severity,
            step,
            place: seen.place,
            value: seen.value,
            threshold: seen.threshold,
            message: seen.message,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::stats::{GradientStats, NamedStats, TensorStats};
    use crate::{Place, StepReading};

    /// A reading of one 1-value parameter `w` of weight norm 1.
    pub(crate) fn reading(step: u64, loss: f64, gradient: f32) -> StepReading {
        let gradients = GradientStats {
            tensors: vec![NamedStats {
                name: "w".into(),
                stats: TensorStats::of(&[gradient]),
            }],
        };
        StepReading::new(step, loss, 0.01, gradients).with_weight_norms(vec![1.0])
    }

    pub(crate) fn at_w() -> Place {
        Place::Parameter("w".into())
    }

    /// Random numbers that are the same on every platform and in every release (SplitMix64).
    pub(crate) struct Dice(u64);

    impl Dice {
        pub(crate) fn new(seed: u64) -> Self {
            Self(seed)
        }

        fn roll(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        /// A number from 0 up to, not including, `count`.
        pub(crate) fn below(&mut self, count: usize) -> usize {
            (self.roll() % count as u64) as usize
        }

        pub(crate) fn one_in(&mut self, count: usize) -> bool {
            self.below(count) == 0
        }

        /// A number from 0 up to, not including, 1.
        pub(crate) fn share(&mut self) -> f64 {
            (self.roll() >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// A digest of texts (FNV-1a).
    pub(crate) struct Digest(u64);

    impl Default for Digest {
        fn default() -> Self {
            Self(0xcbf2_9ce4_8422_2325)
        }
    }

    impl Digest {
        pub(crate) fn add(&mut self, text: &str) {
            for byte in text.bytes().chain([0]) {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }

        pub(crate) fn value(&self) -> u64 {
            self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys(value: impl Serialize) -> BTreeSet<String> {
        let value = serde_json::to_value(value).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn settings_and_states_are_saved_under_the_detectors_names() {
        let names: BTreeSet<String> = Detector::ALL
            .iter()
            .map(|detector| serde_json::to_value(detector).unwrap())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        let mut settings = keys(DetectorConfig::default());
        assert!(settings.insert("non_finite".into()), "it has no settings");
        assert_eq!(settings, names);
        let mut states = keys(DetectorState::default());
        assert!(states.remove("losses"));
        assert_eq!(states, names);
    }

    #[test]
    fn titles_differ() {
        let titles: BTreeSet<_> = Detector::ALL.iter().map(|one| one.title()).collect();
        assert_eq!(titles.len(), Detector::ALL.len());
    }

    #[test]
    fn an_error_names_the_detector() {
        let mut config = DetectorConfig::default();
        config.norm_spike.bound.margin = 0.5;
        let error = config.validate().unwrap_err();
        assert_eq!(error.field, "norm_spike.bound.margin");
    }
}
