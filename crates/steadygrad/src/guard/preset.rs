use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::config::{GuardConfig, Response};
use super::error::GuardConfigError;
use crate::detect::DetectorConfig;
use crate::recover::RecoverConfig;

/// Settings by name. All but `observe` keep non-finite values from the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// It watches and never touches.
    Observe,
    /// It acts only on what is certain: sensitivity 0.25, no clipping, and twice the patience
    /// before it does more.
    Careful,
    /// It leaves a healthy run as it is, to the bit.
    #[default]
    Default,
    /// It acts rather once too often: sensitivity 0.75, and one harmful loss makes it suspect the
    /// weights.
    Aggressive,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 4] = [
        Self::Observe,
        Self::Careful,
        Self::Default,
        Self::Aggressive,
    ];

    /// The name that a configuration file uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Careful => "careful",
            Self::Default => "default",
            Self::Aggressive => "aggressive",
        }
    }
}

impl From<Preset> for GuardConfig {
    fn from(preset: Preset) -> Self {
        let recover = RecoverConfig::default();
        let with = |sensitivity, recover| GuardConfig {
            detectors: DetectorConfig::at_sensitivity(sensitivity),
            clip: None,
            response: Response::Recover(recover),
        };
        match preset {
            Preset::Observe => Self::observe(),
            Preset::Careful => with(
                0.25,
                RecoverConfig {
                    clip: false,
                    loss_patience: 2 * recover.loss_patience,
                    max_consecutive_errors: 2 * recover.max_consecutive_errors,
                    ..recover
                },
            ),
            Preset::Default => Self::default(),
            Preset::Aggressive => with(
                0.75,
                RecoverConfig {
                    loss_patience: 1,
                    max_consecutive_errors: 3,
                    ..recover
                },
            ),
        }
    }
}

impl FromStr for Preset {
    type Err = GuardConfigError;

    fn from_str(name: &str) -> Result<Self, GuardConfigError> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| GuardConfigError::Preset {
                found: name.to_owned(),
            })
    }
}
