use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::GuardConfig;
use super::error::GuardConfigError;
use crate::detect::DetectorConfig;
use crate::guard::Response;
use crate::recover::RecoverConfig;

/// Settings by name. All but `observe` keep non-finite values from the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Watch, never touch.
    Observe,
    /// Only what is certain: sensitivity 0.25, no clipping, and twice the patience before a rung is
    /// left.
    Careful,
    /// A healthy run stays bit for bit what it was.
    #[default]
    Default,
    /// Rather one step too many than one too few: sensitivity 0.75, and the weights are suspected
    /// after one harmful loss.
    Aggressive,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Observe,
        Self::Careful,
        Self::Default,
        Self::Aggressive,
    ];

    /// As a configuration file names it.
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
