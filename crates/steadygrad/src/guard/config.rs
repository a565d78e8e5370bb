use serde::{Deserialize, Serialize};

use super::error::GuardConfigError;
use crate::clip::{Policy, Target};
use crate::detect::DetectorConfig;
use crate::recover::RecoverConfig;
use crate::setting::between;

/// How a guard responds to what its detectors see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Response {
    /// It only records: every update is applied as without a guard, even with NaN.
    Observe,
    /// It ends the run before a NaN or infinite value reaches a weight, and records all else.
    Stop,
    /// It keeps the run alive: see [`recover`](crate::recover).
    Recover(RecoverConfig),
}

impl Default for Response {
    fn default() -> Self {
        Self::Recover(RecoverConfig::default())
    }
}

/// The settings of a guard. [`Guard::new`](super::Guard::new) checks them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GuardConfig {
    /// The settings of the detectors.
    pub detectors: DetectorConfig,
    /// The user's own clipping of every step, whatever the detectors see. Its policy acts on the
    /// gradient and needs one look at it.
    pub clip: Option<Policy>,
    /// How the guard responds to detections.
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

    /// Sets the settings of the detectors.
    #[must_use]
    pub fn with_detectors(self, detectors: DetectorConfig) -> Self {
        Self { detectors, ..self }
    }

    /// Sets how the guard responds to detections.
    #[must_use]
    pub fn with_response(self, response: Response) -> Self {
        Self { response, ..self }
    }

    /// Sets the user's own clipping.
    #[must_use]
    pub fn with_clip(self, policy: impl Into<Policy>) -> Self {
        Self {
            clip: Some(policy.into()),
            ..self
        }
    }

    /// Sets all detectors' thresholds by one dial, from 0 (acts on little) to 1 (acts early); 0.5
    /// is the default. From the same past, a guard that acts at one sensitivity acts at every
    /// higher one.
    ///
    /// # Errors
    /// When the sensitivity is not from 0 to 1.
    pub fn with_sensitivity(self, sensitivity: f64) -> Result<Self, GuardConfigError> {
        between("sensitivity", sensitivity, 0.0, 1.0)?;
        Ok(Self {
            detectors: DetectorConfig::at_sensitivity(sensitivity),
            ..self
        })
    }

    /// Checks every setting against its allowed range.
    ///
    /// # Errors
    /// Names the first field outside its range, or a policy that a guard cannot run.
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
            Response::Recover(recover) => {
                let recover = recover.validate();
                Ok(recover.map_err(|error| error.within("recover"))?)
            }
            Response::Observe | Response::Stop => Ok(()),
        }
    }
}
