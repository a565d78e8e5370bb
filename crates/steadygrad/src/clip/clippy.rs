use serde::{Deserialize, Serialize};

use super::error::not_negative;
use super::{ClipConfigError, ClipPolicy, ClipReading, Needs, Target};
use crate::Decision;

/// Clippy: scale a tensor's update so that no weight changes by more than a share of itself.
///
/// `update <- update min(1, min_i (relative |w_i| + accumulator / sqrt(v_i) + absolute) / |update_i|)`
/// by tensor, with v the optimizer's accumulated g^2 (needed only when `accumulator` is not 0).
///
/// Defaults: relative 0.1, accumulator 0, absolute 1e-7. From ranking models with Adagrad, where
/// clipping gradients does not bound updates. Weights near zero make it strict: `absolute` is then
/// the bound that matters.
///
/// A tensor whose update has a NaN or infinite value is left as it is; zero and empty are kept.
/// Source: Tang et al., "Improving training stability for multitask ranking models in recommender
/// systems", 2023; the terms as in TensorFlow Recommenders' `ClippyAdagrad`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clippy {
    /// Share of the weight's size.
    pub relative: f64,
    /// Multiple of `1 / sqrt(v)`.
    pub accumulator: f64,
    /// What is allowed to a weight of zero.
    pub absolute: f64,
}

impl Default for Clippy {
    fn default() -> Self {
        Self {
            relative: 0.1,
            accumulator: 0.0,
            absolute: 1e-7,
        }
    }
}

impl ClipPolicy for Clippy {
    type State = ();

    fn needs(&self) -> Needs {
        let Self {
            relative,
            accumulator,
            absolute,
        } = *self;
        Needs::Headroom {
            relative,
            accumulator,
            absolute,
        }
    }

    fn target(&self) -> Target {
        Target::Update
    }

    fn validate(&self) -> Result<(), ClipConfigError> {
        not_negative("clippy.relative", self.relative)?;
        not_negative("clippy.accumulator", self.accumulator)?;
        not_negative("clippy.absolute", self.absolute)
    }

    fn step(&self, (): (), reading: &ClipReading) -> ((), Decision) {
        let coefficients = reading.tensors.iter().map(|tensor| {
            tensor
                .headroom
                .filter(|headroom| headroom.is_finite())
                .unwrap_or(1.0)
                .min(1.0)
        });
        ((), Decision::per_tensor(coefficients.collect()))
    }
}
