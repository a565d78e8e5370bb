//! Detectors, one a file: from a [`StepReading`] to [`Detection`]s.
//!
//! Each detector is an immutable config beside an explicit, serializable state. A non-finite
//! reading never enters a running statistic, so one NaN cannot blind a detector for good.

mod loss_divergence;
mod non_finite;
mod norm_growth;
mod update_ratio;

pub use loss_divergence::{LossDivergence, LossDivergenceState};
pub use non_finite::NonFinite;
pub use norm_growth::{NormGrowth, NormGrowthState};
pub use update_ratio::UpdateRatio;

use serde::{Deserialize, Serialize};

use crate::{Place, StepReading, float};

/// Which detector spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// NaN or infinite loss or gradient.
    NonFinite,
    /// The update is too large for the weights.
    UpdateRatio,
    /// The global norm left its running scale.
    NormGrowth,
    /// The loss left its running mean, upwards.
    LossDivergence,
}

/// One thing seen at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Who saw it.
    pub detector: Detector,
    /// When.
    pub step: u64,
    /// Where.
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

/// All detectors' settings. The defaults carry their sources in each detector's documentation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorConfig {
    /// See [`UpdateRatio`].
    pub update_ratio: UpdateRatio,
    /// See [`NormGrowth`].
    pub norm_growth: NormGrowth,
    /// See [`LossDivergence`].
    pub loss_divergence: LossDivergence,
}

/// All detectors' running state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorState {
    norm_growth: NormGrowthState,
    loss_divergence: LossDivergenceState,
}

impl DetectorConfig {
    /// Shows one reading to every detector.
    pub fn step(&self, state: &mut DetectorState, reading: &StepReading) -> Vec<Detection> {
        [
            NonFinite.check(reading),
            self.update_ratio.check(reading),
            self.norm_growth.step(&mut state.norm_growth, reading),
            self.loss_divergence
                .step(&mut state.loss_divergence, reading),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::stats::{GradientStats, NamedStats, TensorStats};
    use crate::{Place, StepReading};

    /// A reading of one 1-value parameter `w` of weight norm 1.
    pub(crate) fn reading(step: u64, loss: f64, gradient: f32) -> StepReading {
        StepReading {
            step,
            loss,
            learning_rate: 0.01,
            gradients: GradientStats {
                tensors: vec![NamedStats {
                    name: "w".into(),
                    stats: TensorStats::of(&[gradient]),
                }],
            },
            weight_norms: vec![1.0],
        }
    }

    pub(crate) fn at_w() -> Place {
        Place::Parameter("w".into())
    }
}
