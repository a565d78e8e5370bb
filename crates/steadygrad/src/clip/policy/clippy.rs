use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::{ClipPolicy, ClipReading, Needs, Target};
use crate::setting::{SettingError, at_least};

/// Clippy scales a tensor's update so that no weight changes by more than a share of itself.
///
/// Each tensor has `update <- update min(1, min_i room_i / |update_i|)`, with `room_i = relative
/// |w_i| + accumulator / sqrt(v_i) + absolute`. `v` is the optimizer's accumulated g^2, which is
/// needed only when `accumulator` is not 0.
///
/// Defaults: relative 0.1, accumulator 0, absolute 1e-7. It comes from ranking models with Adagrad,
/// where clipping gradients does not bound updates. Weights near zero make it strict: `absolute` is
/// then their bound.
///
/// A tensor whose update has a NaN or infinite value is kept, and so are zero and empty ones.
///
/// Source: Tang et al., "Improving training stability for multitask ranking models in recommender
/// systems", 2023; the terms as in TensorFlow Recommenders' `ClippyAdagrad`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clippy {
    /// The share of the weight's size. Finite, at least 0.
    pub relative: f64,
    /// The multiple of `1 / sqrt(v)`. Finite, at least 0.
    pub accumulator: f64,
    /// The change that a weight of zero is allowed. Finite, at least 0.
    pub absolute: f64,
}

impl Clippy {
    /// Sets the share of the weight's size.
    pub fn with_relative(self, relative: f64) -> Self {
        Self { relative, ..self }
    }

    /// Sets the multiple of `1 / sqrt(v)`.
    pub fn with_accumulator(self, accumulator: f64) -> Self {
        Self {
            accumulator,
            ..self
        }
    }

    /// Sets the change that a weight of zero is allowed.
    pub fn with_absolute(self, absolute: f64) -> Self {
        Self { absolute, ..self }
    }
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

    fn examples(_bound: f64) -> Vec<Self> {
        vec![Self::default()]
    }

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

    fn validate(&self) -> Result<(), SettingError> {
        at_least("relative", self.relative, 0.0)?;
        at_least("accumulator", self.accumulator, 0.0)?;
        at_least("absolute", self.absolute, 0.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::TensorReading;

    #[test]
    fn only_an_update_beyond_its_headroom_is_scaled() {
        let decide = |headroom| {
            let reading = ClipReading {
                tensors: vec![TensorReading {
                    headroom,
                    ..TensorReading::default()
                }],
            };
            Clippy::default().step((), &reading).1
        };
        for kept in [
            None,
            Some(1.0),
            Some(3.0),
            Some(f64::INFINITY),
            Some(f64::NAN),
        ] {
            assert_eq!(decide(kept), Decision::Keep, "{kept:?}");
        }
        let coefficients = vec![0.25];
        assert_eq!(
            decide(Some(0.25)),
            Decision::ScalePerTensor { coefficients }
        );
    }
}
