use serde::{Deserialize, Serialize};

use super::error::{GuardConfigError, between};
use crate::clip::{Policy, Target};
use crate::detect::DetectorConfig;
use crate::recover::RecoverConfig;

/// What a guard does about what its detectors see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Nothing: every update is applied as it would have been without a guard, NaN as well.
    Observe,
    /// End the run before a NaN or infinite value reaches a weight; note all else.
    Stop,
    /// Keep the run alive: see [`recover`](crate::recover).
    Recover(RecoverConfig),
}

impl Default for Response {
    fn default() -> Self {
        Self::Recover(RecoverConfig::default())
    }
}

/// Immutable settings of a guard. [`Guard::new`](super::Guard::new) checks them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardConfig {
    /// The detectors.
    pub detectors: DetectorConfig,
    /// The user's own clipping of every step, whatever the detectors see. Policies that act on the
    /// gradient, by one look at it.
    pub clip: Option<Policy>,
    /// What is done.
    pub response: Response,
}

impl GuardConfig {
    /// A guard that watches and never touches: the run stays bit for bit what it was.
    pub fn observe() -> Self {
        Self {
            response: Response::Observe,
            ..Self::default()
        }
    }

    /// A guard that ends the run at the first non-finite value and otherwise never touches.
    pub fn stop_on_non_finite() -> Self {
        Self {
            response: Response::Stop,
            ..Self::default()
        }
    }

    /// With the user's own clipping.
    #[must_use]
    pub fn with_clip(self, policy: impl Into<Policy>) -> Self {
        Self {
            clip: Some(policy.into()),
            ..self
        }
    }

    /// The one dial: with all detectors' thresholds at a sensitivity from 0 (acts on little) to 1
    /// (acts early), where 0.5 is the default. From the same past, whatever is acted on at one
    /// sensitivity is acted on at every higher one.
    ///
    /// # Errors
    /// When it is not from 0 to 1.
    pub fn with_sensitivity(self, sensitivity: f64) -> Result<Self, GuardConfigError> {
        between("sensitivity", sensitivity, 0.0, 1.0)?;
        Ok(Self {
            detectors: DetectorConfig::at_sensitivity(sensitivity),
            ..self
        })
    }

    /// Whether every setting can be used.
    ///
    /// # Errors
    /// Names the first that cannot.
    pub fn validate(&self) -> Result<(), GuardConfigError> {
        self.detectors.validate()?;
        if let Some(policy) = &self.clip {
            policy.validate()?;
            let policy = match policy {
                Policy::Chain { .. } => Some("chain of policies"),
                policy if policy.target() == Target::Update => Some("policy on the update"),
                _ => None,
            };
            if let Some(policy) = policy {
                return Err(GuardConfigError::Policy { policy });
            }
        }
        match &self.response {
            Response::Recover(recover) => recover.validate(),
            Response::Observe | Response::Stop => Ok(()),
        }
    }
}
