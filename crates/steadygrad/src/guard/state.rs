use serde::{Deserialize, Serialize};

use super::config::{GuardConfig, Response};
use super::error::GuardConfigError;
use super::preset::Preset;
use super::summary::GuardSummary;
use crate::clip::{Clipper, Needs};
use crate::detect::DetectorState;
use crate::recover::{LadderState, RecoverConfig, Snapshots};

/// A guard's settings and its running, serializable state.
///
/// Saved and loaded after any step, it decides as if it had never been saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Guard {
    pub(super) config: GuardConfig,
    pub(super) clipper: Option<Clipper>,
    pub(super) detectors: DetectorState,
    pub(super) ladder: LadderState,
    pub(super) snapshots: Snapshots,
    /// Harmful readings in a row, for a guard without a ladder.
    pub(super) harmful: usize,
    pub(super) summary: GuardSummary,
}

/// A [`Guard`] as read, before it is checked.
#[derive(Deserialize)]
struct Saved {
    config: GuardConfig,
    clipper: Option<Clipper>,
    detectors: DetectorState,
    ladder: LadderState,
    snapshots: Snapshots,
    harmful: usize,
    summary: GuardSummary,
}

impl TryFrom<Saved> for Guard {
    type Error = GuardConfigError;

    fn try_from(saved: Saved) -> Result<Self, GuardConfigError> {
        let fresh = Self::new(saved.config)?;
        // A clipper of another policy than the config's would clip by settings that the user did
        // not choose.
        let same = |clipper: &Clipper| Some(clipper.policy()) == fresh.config.clip.as_ref();
        Ok(Self {
            clipper: saved.clipper.filter(same).or(fresh.clipper),
            config: fresh.config,
            detectors: saved.detectors,
            ladder: saved.ladder,
            snapshots: saved.snapshots,
            harmful: saved.harmful,
            summary: saved.summary,
        })
    }
}

impl From<Preset> for Guard {
    fn from(preset: Preset) -> Self {
        Self::unchecked(preset.into(), None)
    }
}

impl Default for Guard {
    fn default() -> Self {
        Preset::Default.into()
    }
}

impl Guard {
    /// Makes a guard that has seen no reading yet.
    ///
    /// # Errors
    /// When a setting cannot be used; names the field and the range that it may be in.
    pub fn new(config: GuardConfig) -> Result<Self, GuardConfigError> {
        config.validate()?;
        let clipper = config.clip.clone().map(Clipper::new).transpose()?;
        Ok(Self::unchecked(config, clipper))
    }

    fn unchecked(config: GuardConfig, clipper: Option<Clipper>) -> Self {
        Self {
            config,
            clipper,
            detectors: DetectorState::default(),
            ladder: LadderState::default(),
            snapshots: Snapshots::default(),
            harmful: 0,
            summary: GuardSummary::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &GuardConfig {
        &self.config
    }

    /// What the guard has done so far.
    pub fn summary(&self) -> &GuardSummary {
        &self.summary
    }

    /// The factor on the user's learning rate. Exactly 1 while nothing is wrong.
    pub fn learning_rate_scale(&self) -> f64 {
        self.ladder.scale()
    }

    /// What the user's clipping must know beyond the reading, for [`Guard::step_with`].
    pub fn needs(&self) -> Needs {
        self.config
            .clip
            .as_ref()
            .map_or(Needs::Stats, |policy| policy.needs())
    }

    pub(super) fn recover(&self) -> Option<&RecoverConfig> {
        match &self.config.response {
            Response::Recover(recover) => Some(recover),
            Response::Observe | Response::Stop => None,
        }
    }
}
