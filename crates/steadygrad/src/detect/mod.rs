//! Detectors, one a file: from a [`StepReading`](crate::StepReading) to [`Detection`]s.
//!
//! Each detector is an immutable config beside an explicit, serializable state. `check` judges a
//! reading against the past and changes nothing; what is remembered is decided afterwards, by the
//! guard: a reading that was judged harmful never enters a running scale, and a non-finite one
//! cannot, so nothing blinds a detector for good. (A lasting change of level is accepted in the end:
//! see [`recover`](crate::recover).)
//!
//! | detector | looks at | severity |
//! |---|---|---|
//! | [`NonFinite`] | gradients, loss, learning rate; weights | harmful; damage |
//! | [`NearOverflow`] | the largest gradient value | harmful |
//! | [`NormSpike`] | a jump of the global norm | suspicious, harmful |
//! | [`NormGrowth`] | a steady rise of the global norm | note; with the loss harmful |
//! | [`LossSpike`] | a jump of the loss | suspicious, harmful |
//! | [`LossRelapse`] | the loss against its start | harmful |
//! | [`LossDivergence`] | the loss against its mean and start | suspicious |
//! | [`UpdateRatio`] | update over weights, planned and measured | note, harmful; damage |
//! | [`Overshoot`] | the loss along a step | note; damage |
//! | [`WeightGrowth`] | weights from step to step | note; damage |
//! | [`LearningRateJump`] | the user's learning rate | harmful |
//! | [`GrowthThroughDepth`], [`GrowthThroughTime`] | measured growth rates | note |
//! | [`Vanishing`], [`ClipSaturation`] | tiny gradients, the clip rate | note |

mod bound;
mod clip_saturation;
mod config;
mod growth_through_depth;
mod growth_through_time;
mod learning_rate_jump;
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
mod update_ratio;
mod vanishing;
mod weight_growth;

pub use bound::OutlierBound;
pub use clip_saturation::{ClipSaturation, ClipSaturationState};
pub use config::{DetectorConfig, DetectorState};
pub use growth_through_depth::GrowthThroughDepth;
pub use growth_through_time::GrowthThroughTime;
pub use learning_rate_jump::{LearningRateJump, LearningRateJumpState};
pub use loss_divergence::{LossDivergence, LossDivergenceState};
pub use loss_relapse::{LossRelapse, LossRelapseState};
pub use loss_spike::LossSpike;
pub use near_overflow::NearOverflow;
pub use non_finite::NonFinite;
pub use norm_growth::{NormGrowth, NormGrowthState};
pub use norm_spike::NormSpike;
pub use overshoot::{Overshoot, OvershootState};
pub use quiet::Quiet;
pub use scale::RunningScale;
pub(crate) use scale::{SIGMA_PER_MAD, middle};
pub use severity::Severity;
pub use signals::Signals;
pub use update_ratio::{UpdateRatio, UpdateRatioState};
pub use vanishing::Vanishing;
pub use weight_growth::{WeightGrowth, WeightGrowthState};

use serde::{Deserialize, Serialize};

use crate::{Place, float};

/// Which detector spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// NaN or infinite loss, gradient, learning rate or weight.
    NonFinite,
    /// A gradient value whose square is about to overflow.
    NearOverflow,
    /// The global norm jumped out of its running scale.
    NormSpike,
    /// The global norm rose steadily and far.
    NormGrowth,
    /// The loss jumped out of its running scale.
    LossSpike,
    /// The loss left its running mean and its start, upwards.
    LossDivergence,
    /// The loss is back at its start, and stays there.
    LossRelapse,
    /// The update is too large for the weights.
    UpdateRatio,
    /// A step raised the loss of its own batch.
    Overshoot,
    /// The weights jumped, or grow steadily.
    WeightGrowth,
    /// The user's learning rate jumped.
    LearningRateJump,
    /// The gradient grows from layer to layer.
    GrowthThroughDepth,
    /// The gradient grows from time step to time step.
    GrowthThroughTime,
    /// The gradients of many parameters are next to nothing.
    Vanishing,
    /// Nearly every step is clipped.
    ClipSaturation,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::NonFinite,
        Self::NearOverflow,
        Self::NormSpike,
        Self::NormGrowth,
        Self::LossSpike,
        Self::LossDivergence,
        Self::LossRelapse,
        Self::UpdateRatio,
        Self::Overshoot,
        Self::WeightGrowth,
        Self::LearningRateJump,
        Self::GrowthThroughDepth,
        Self::GrowthThroughTime,
        Self::Vanishing,
        Self::ClipSaturation,
    ];

    /// Whether it speaks of growth, not of gradients that vanish or of the clipping itself.
    pub fn is_about_explosion(self) -> bool {
        !matches!(self, Self::Vanishing | Self::ClipSaturation)
    }
}

/// One thing seen at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Who saw it.
    pub detector: Detector,
    /// How much is wrong.
    pub severity: Severity,
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
}
