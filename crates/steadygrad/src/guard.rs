//! The guard: the only place where detection and clipping meet, and where a decision is made.

use serde::{Deserialize, Serialize};

use crate::clip::{ClipPolicy, ClipReading, GlobalNormClip};
use crate::detect::{Detection, Detector, DetectorConfig, DetectorState};
use crate::{Decision, StepReading};

/// What the guard does about a gradient or loss that is not finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNonFinite {
    /// Only note it. The update is applied, as it would have been without a guard.
    Observe,
    /// End the run before the value reaches a weight.
    #[default]
    Stop,
}

/// Immutable settings of a guard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GuardConfig {
    /// The detectors.
    pub detectors: DetectorConfig,
    /// Clip by the global norm, or not at all.
    pub clip: Option<GlobalNormClip>,
    /// What to do about NaN and infinity.
    pub on_non_finite: OnNonFinite,
}

impl GuardConfig {
    /// A guard that watches and never touches: the run stays bit for bit what it was.
    pub fn observe() -> Self {
        Self {
            on_non_finite: OnNonFinite::Observe,
            ..Self::default()
        }
    }
}

/// A guard's config and its running, serializable state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    config: GuardConfig,
    state: DetectorState,
}

impl Guard {
    /// A guard that has seen nothing yet.
    pub fn new(config: GuardConfig) -> Self {
        Self {
            config,
            state: DetectorState::default(),
        }
    }

    /// Judges one step: what was seen, and what to do. Never panics, whatever the reading.
    pub fn step(&mut self, reading: &StepReading) -> (Decision, Vec<Detection>) {
        let seen = self.config.detectors.step(&mut self.state, reading);
        let broken = seen
            .iter()
            .find(|detection| detection.detector == Detector::NonFinite);
        let decision = match (broken, self.config.on_non_finite) {
            (Some(detection), OnNonFinite::Stop) => Decision::Stop {
                reason: detection.message.clone(),
            },
            _ => self.config.clip.map_or(Decision::Keep, |clip| {
                let stats = reading.gradients.tensors.iter().map(|tensor| tensor.stats);
                clip.step((), &ClipReading::from_stats(stats)).1
            }),
        };
        (decision, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::reading;

    #[test]
    fn observing_never_touches() {
        let mut guard = Guard::new(GuardConfig::observe());
        for (step, gradient) in [0.0, 1.0, 1e30, f32::NAN, f32::INFINITY]
            .into_iter()
            .enumerate()
        {
            assert_eq!(
                guard.step(&reading(step as u64, 1.0, gradient)).0,
                Decision::Keep
            );
        }
    }

    #[test]
    fn a_non_finite_step_stops_and_a_large_one_is_clipped() {
        let mut guard = Guard::new(GuardConfig {
            clip: Some(GlobalNormClip::new(2.0)),
            ..GuardConfig::default()
        });
        assert_eq!(guard.step(&reading(0, 1.0, 1.0)).0, Decision::Keep);
        assert_eq!(
            guard.step(&reading(1, 1.0, 8.0)).0,
            Decision::ScaleGlobal { coefficient: 0.25 }
        );
        assert!(matches!(
            guard.step(&reading(2, 1.0, f32::NAN)).0,
            Decision::Stop { .. }
        ));
        assert!(matches!(
            guard.step(&reading(3, f64::NAN, 1.0)).0,
            Decision::Stop { .. }
        ));
    }

    #[test]
    fn resuming_equals_never_having_stopped() {
        let gradients = [1.0, 1.2, 0.9, 1.0, 1.1, 1.0, 30.0, 1.0, 2.0];
        let config = GuardConfig {
            clip: Some(GlobalNormClip::new(2.0)),
            ..GuardConfig::default()
        };
        let mut whole = Guard::new(config);
        let mut resumed = Guard::new(config);
        for (step, gradient) in gradients.into_iter().enumerate() {
            let reading = reading(step as u64, 1.0, gradient);
            let text = serde_json::to_string(&resumed).unwrap();
            resumed = serde_json::from_str(&text).unwrap();
            assert_eq!(whole.step(&reading), resumed.step(&reading));
        }
        assert_eq!(whole, resumed);
    }
}
