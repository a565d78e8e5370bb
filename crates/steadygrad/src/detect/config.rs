use serde::{Deserialize, Serialize};

use super::{
    ClipSaturation, ClipSaturationState, Detection, GrowthThroughDepth, GrowthThroughTime,
    LearningRateJump, LearningRateJumpState, LossDivergence, LossDivergenceState, LossRelapse,
    LossRelapseState, LossSpike, NearOverflow, NonFinite, NormGrowth, NormGrowthState, NormSpike,
    OutlierBound, Overshoot, OvershootState, RunningScale, Signals, UpdateRatio, UpdateRatioState,
    Vanishing, WeightGrowth, WeightGrowthState,
};
use crate::guard::error::{GuardConfigError, above, at_least, between, count};

/// All detectors' settings. The defaults carry their sources in each detector's documentation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectorConfig {
    /// See [`NearOverflow`].
    pub near_overflow: NearOverflow,
    /// See [`NormSpike`].
    pub norm_spike: NormSpike,
    /// See [`NormGrowth`].
    pub norm_growth: NormGrowth,
    /// See [`LossSpike`].
    pub loss_spike: LossSpike,
    /// See [`LossDivergence`].
    pub loss_divergence: LossDivergence,
    /// See [`LossRelapse`].
    pub loss_relapse: LossRelapse,
    /// See [`UpdateRatio`].
    pub update_ratio: UpdateRatio,
    /// See [`Overshoot`].
    pub overshoot: Overshoot,
    /// See [`WeightGrowth`].
    pub weight_growth: WeightGrowth,
    /// See [`LearningRateJump`].
    pub learning_rate_jump: LearningRateJump,
    /// See [`GrowthThroughDepth`].
    pub growth_through_depth: GrowthThroughDepth,
    /// See [`GrowthThroughTime`].
    pub growth_through_time: GrowthThroughTime,
    /// See [`Vanishing`].
    pub vanishing: Vanishing,
    /// See [`ClipSaturation`].
    pub clip_saturation: ClipSaturation,
}

/// All detectors' running state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorState {
    pub(super) norm_spike: RunningScale,
    pub(super) norm_growth: NormGrowthState,
    pub(super) loss_spike: RunningScale,
    loss_divergence: LossDivergenceState,
    pub(super) loss_relapse: LossRelapseState,
    pub(super) update_ratio: UpdateRatioState,
    overshoot: OvershootState,
    pub(super) weight_growth: WeightGrowthState,
    pub(super) learning_rate_jump: LearningRateJumpState,
    growth_through_depth: bool,
    growth_through_time: bool,
    vanishing: bool,
    clip_saturation: ClipSaturationState,
}

impl DetectorConfig {
    /// Shows one reading to every detector. Changes nothing.
    pub fn check(&self, state: &DetectorState, signals: &Signals<'_>) -> Vec<Detection> {
        let usual_loss = self.loss_spike.usual(&state.loss_spike);
        [
            NonFinite.check(signals),
            self.near_overflow.check(signals),
            self.norm_spike.check(&state.norm_spike, signals),
            self.norm_growth.check(&state.norm_growth, signals),
            self.loss_spike.check(&state.loss_spike, signals),
            self.loss_divergence.check(&state.loss_divergence, signals),
            self.loss_relapse
                .check(&state.loss_spike, state.loss_relapse, signals),
            self.update_ratio.check(&state.update_ratio, signals),
            self.overshoot
                .check(&state.overshoot, usual_loss.map(|usual| usual.1), signals),
            self.weight_growth.check(&state.weight_growth, signals),
            self.learning_rate_jump
                .check(&state.learning_rate_jump, signals),
            self.growth_through_depth
                .check(&state.growth_through_depth, signals),
            self.growth_through_time
                .check(&state.growth_through_time, signals),
            self.vanishing.check(&state.vanishing, signals),
            self.clip_saturation.check(&state.clip_saturation, signals),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether the loss is back where it started, be it for this one reading.
    pub(crate) fn loss_is_back(&self, state: &DetectorState, signals: &Signals<'_>) -> bool {
        self.loss_relapse.is_back(&state.loss_spike, signals)
    }

    /// Remembers a reading whose update is applied; `clipped` is whether after clipping.
    pub(crate) fn accept(&self, state: &mut DetectorState, signals: &Signals<'_>, clipped: bool) {
        self.norm_spike.accept(&mut state.norm_spike, signals);
        self.norm_growth.accept(&mut state.norm_growth, signals);
        self.loss_relapse
            .count(&state.loss_spike, &mut state.loss_relapse, signals);
        self.loss_spike.accept(&mut state.loss_spike, signals);
        self.loss_divergence
            .accept(&mut state.loss_divergence, signals);
        self.update_ratio.accept(&mut state.update_ratio, signals);
        self.overshoot.accept(&mut state.overshoot, signals);
        self.weight_growth
            .accept(&mut state.weight_growth, signals, true);
        self.learning_rate_jump
            .accept(&mut state.learning_rate_jump, signals);
        self.growth_through_depth
            .accept(&mut state.growth_through_depth, signals);
        self.growth_through_time
            .accept(&mut state.growth_through_time, signals);
        self.vanishing.accept(&mut state.vanishing, signals);
        self.clip_saturation
            .accept(&mut state.clip_saturation, clipped);
    }

    /// Remembers of a reading that is harmful or left out what is compared from step to step, and nothing
    /// else; `applied` is whether its update is applied all the same.
    pub(crate) fn reject(&self, state: &mut DetectorState, signals: &Signals<'_>, applied: bool) {
        self.overshoot.forget(&mut state.overshoot);
        self.loss_relapse
            .count(&state.loss_spike, &mut state.loss_relapse, signals);
        self.weight_growth
            .accept(&mut state.weight_growth, signals, applied);
    }

    /// Follows rises anew: the learning rate is another one.
    pub(crate) fn forget_rises(&self, state: &mut DetectorState) {
        state.norm_growth = NormGrowthState::default();
    }

    /// The user's largest learning rate so far.
    pub(crate) fn largest_learning_rate(state: &DetectorState) -> Option<f64> {
        state.learning_rate_jump.largest()
    }

    /// Takes this learning rate for the user's will.
    pub(crate) fn accept_learning_rate(&self, state: &mut DetectorState, signals: &Signals<'_>) {
        self.learning_rate_jump
            .accept_as_meant(&mut state.learning_rate_jump, signals);
    }

    /// Defaults at a sensitivity in `0..=1`, where 0.5 is the default itself: every threshold is
    /// taken to the power `4^(0.5 - sensitivity)`, in deviations multiplied by it. At 0 a spike has
    /// to be 100 times the median, at 1 3.2 times.
    ///
    /// Monotone: from the same past, what is harmful at one sensitivity is so at every higher one.
    pub(crate) fn at_sensitivity(sensitivity: f64) -> Self {
        let power = 4f64.powf(0.5 - sensitivity);
        let raise = |factor: f64| factor.powf(power);
        let defaults = Self::default();
        Self {
            norm_spike: NormSpike {
                bound: defaults.norm_spike.bound.scaled(power),
                harmful_ratio: raise(defaults.norm_spike.harmful_ratio),
            },
            norm_growth: NormGrowth {
                factor: raise(defaults.norm_growth.factor),
                margin: raise(defaults.norm_growth.margin),
                ..defaults.norm_growth
            },
            loss_spike: defaults.loss_spike.scaled(power),
            loss_divergence: LossDivergence {
                factor: raise(defaults.loss_divergence.factor),
                ..defaults.loss_divergence
            },
            update_ratio: UpdateRatio {
                max_ratio: defaults.update_ratio.max_ratio,
                bound: defaults.update_ratio.bound.scaled(power),
                harmful_ratio: raise(defaults.update_ratio.harmful_ratio),
            },
            weight_growth: WeightGrowth {
                jump: raise(defaults.weight_growth.jump),
                parameter_jump: raise(defaults.weight_growth.parameter_jump),
                growth: raise(defaults.weight_growth.growth),
                ..defaults.weight_growth
            },
            learning_rate_jump: LearningRateJump {
                factor: raise(defaults.learning_rate_jump.factor),
                ..defaults.learning_rate_jump
            },
            ..defaults
        }
    }

    /// Whether every setting can be used.
    ///
    /// # Errors
    /// Names the first field that cannot.
    pub fn validate(&self) -> Result<(), GuardConfigError> {
        above("near_overflow.max_abs", self.near_overflow.max_abs, 0.0)?;
        bound(
            [
                "norm_spike.bound.window",
                "norm_spike.bound.warmup",
                "norm_spike.bound.z",
                "norm_spike.bound.ratio",
                "norm_spike.bound.margin",
            ],
            &self.norm_spike.bound,
        )?;
        at_least(
            "norm_spike.harmful_ratio",
            self.norm_spike.harmful_ratio,
            1.0,
        )?;
        count("norm_growth.steps", self.norm_growth.steps, 2, MOST)?;
        above("norm_growth.factor", self.norm_growth.factor, 1.0)?;
        at_least("norm_growth.margin", self.norm_growth.margin, 1.0)?;
        let steps = self.norm_growth.steps;
        count("norm_growth.window", self.norm_growth.window, steps, MOST)?;
        count("loss_spike.window", self.loss_spike.window, 1, MOST)?;
        let window = self.loss_spike.window;
        count("loss_spike.warmup", self.loss_spike.warmup, 1, window)?;
        above("loss_spike.z", self.loss_spike.z, 0.0)?;
        at_least("loss_spike.span", self.loss_spike.span, 1.0)?;
        at_least("loss_spike.setback", self.loss_spike.setback, 0.0)?;
        at_least("loss_spike.floor", self.loss_spike.floor, 0.0)?;
        above("loss_divergence.factor", self.loss_divergence.factor, 0.0)?;
        count(
            "loss_divergence.window",
            self.loss_divergence.window,
            1,
            MOST,
        )?;
        between("loss_relapse.back", self.loss_relapse.back, 0.0, 1.0)?;
        count("loss_relapse.patience", self.loss_relapse.patience, 1, MOST)?;
        let deviations = self.loss_relapse.min_deviations;
        at_least("loss_relapse.min_deviations", deviations, 0.0)?;
        count("loss_relapse.recent", self.loss_relapse.recent, 1, MOST)?;
        above("update_ratio.max_ratio", self.update_ratio.max_ratio, 0.0)?;
        bound(
            [
                "update_ratio.bound.window",
                "update_ratio.bound.warmup",
                "update_ratio.bound.z",
                "update_ratio.bound.ratio",
                "update_ratio.bound.margin",
            ],
            &self.update_ratio.bound,
        )?;
        let harmful_ratio = self.update_ratio.harmful_ratio;
        at_least("update_ratio.harmful_ratio", harmful_ratio, 1.0)?;
        count("overshoot.window", self.overshoot.window, 1, MOST)?;
        between("overshoot.share", self.overshoot.share, 0.0, 1.0)?;
        above("weight_growth.jump", self.weight_growth.jump, 1.0)?;
        let parameter_jump = self.weight_growth.parameter_jump;
        above("weight_growth.parameter_jump", parameter_jump, 1.0)?;
        above("weight_growth.growth", self.weight_growth.growth, 1.0)?;
        count("weight_growth.window", self.weight_growth.window, 2, MOST)?;
        count("weight_growth.warmup", self.weight_growth.warmup, 0, MOST)?;
        let factor = self.learning_rate_jump.factor;
        above("learning_rate_jump.factor", factor, 1.0)?;
        let window = self.learning_rate_jump.window;
        count("learning_rate_jump.window", window, 1, MOST)?;
        let warmup = self.learning_rate_jump.warmup;
        count("learning_rate_jump.warmup", warmup, 0, MOST)?;
        let growth = self.growth_through_depth.max_growth;
        above("growth_through_depth.max_growth", growth, 0.0)?;
        let growth = self.growth_through_time.max_growth;
        above("growth_through_time.max_growth", growth, 0.0)?;
        at_least("vanishing.min_rms", self.vanishing.min_rms, 0.0)?;
        count(
            "clip_saturation.window",
            self.clip_saturation.window,
            1,
            MOST,
        )?;
        between(
            "clip_saturation.share",
            self.clip_saturation.share,
            0.0,
            1.0,
        )
    }
}

/// The most steps that a detector may remember: half a megabyte of numbers.
const MOST: usize = 65_536;

fn bound(fields: [&'static str; 5], bound: &OutlierBound) -> Result<(), GuardConfigError> {
    count(fields[0], bound.window, 1, MOST)?;
    count(fields[1], bound.warmup, 1, bound.window)?;
    above(fields[2], bound.z, 0.0)?;
    above(fields[3], bound.ratio, 1.0)?;
    at_least(fields[4], bound.margin, 1.0)
}

impl DetectorState {
    /// Forgets all levels: the next readings set them anew, as at the start of a run. What is
    /// compared from step to step, and the learning rates, stay.
    pub(crate) fn forget_levels(&mut self) {
        *self = Self {
            weight_growth: std::mem::take(&mut self.weight_growth),
            learning_rate_jump: std::mem::take(&mut self.learning_rate_jump),
            growth_through_depth: self.growth_through_depth,
            growth_through_time: self.growth_through_time,
            vanishing: self.vanishing,
            clip_saturation: std::mem::take(&mut self.clip_saturation),
            ..Self::default()
        };
    }
}
