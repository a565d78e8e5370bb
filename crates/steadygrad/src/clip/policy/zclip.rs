use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::scaling::scale_to;
use crate::clip::{ClipPolicy, ClipReading};
use crate::setting::{SettingError, above, check};

/// ZClip bounds global norms that stand out from their running mean.
///
/// The first `warmup_steps` norms give the first mean mu and variance sigma^2. Afterwards `z =
/// (norm - mu) / (sigma + 1e-6)`. Where `z > z_threshold`, the norm is brought down to `mu +
/// z_threshold^2 / z * sigma`: the further out, the closer to the mean. Then `mu <- alpha mu + (1 -
/// alpha) n` and `sigma^2 <- alpha sigma^2 + (1 - alpha) (n - mu)^2`, with the new mu and the
/// clipped norm n. `max_norm` is a fixed bound on top, in the warm-up too.
///
/// Defaults: alpha 0.97, z_threshold 2.5, warmup_steps 25, max_norm 1.
///
/// A NaN or infinite norm keeps everything and is not remembered. Zero norms are remembered.
/// Nothing happens without any tensor.
///
/// Source: Kumar, Owen, Chowdhury and Guera, "ZClip: adaptive spike mitigation for LLM
/// pre-training", arXiv 2504.02507, 2025.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZClip {
    /// The share of the old mean and variance that is kept at each step, in `0..1`.
    pub alpha: f64,
    /// The number of deviations above the mean that a norm may reach. Positive and finite.
    pub z_threshold: f64,
    /// The number of norms before the first judgement, at least 1.
    pub warmup_steps: usize,
    /// A fixed bound of the global norm on top. Positive and finite.
    pub max_norm: Option<f64>,
}

impl ZClip {
    /// Sets the share of the old mean and variance that is kept at each step.
    pub fn with_alpha(self, alpha: f64) -> Self {
        Self { alpha, ..self }
    }

    /// Sets the number of deviations above the mean that a norm may reach.
    pub fn with_z_threshold(self, z_threshold: f64) -> Self {
        Self {
            z_threshold,
            ..self
        }
    }

    /// Sets the number of norms before the first judgement.
    pub fn with_warmup_steps(self, warmup_steps: usize) -> Self {
        Self {
            warmup_steps,
            ..self
        }
    }

    /// Sets the fixed bound on top. `None` for none.
    pub fn with_max_norm(self, max_norm: impl Into<Option<f64>>) -> Self {
        Self {
            max_norm: max_norm.into(),
            ..self
        }
    }
}

impl Default for ZClip {
    fn default() -> Self {
        Self {
            alpha: 0.97,
            z_threshold: 2.5,
            warmup_steps: 25,
            max_norm: Some(1.0),
        }
    }
}

/// Added to the deviation, so that equal norms give no division by zero.
const EPS: f64 = 1e-6;

/// The largest norm that is remembered. Squares of larger norms, which only f64 gradients have,
/// would make the variance infinite.
const LARGEST: f64 = 1e150;

/// The memory of [`ZClip`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ZClipState {
    /// The norms of the warm-up so far.
    WarmUp(Vec<f64>),
    /// The running moments of the clipped norms.
    Running {
        /// The running mean.
        mean: f64,
        /// The running variance.
        variance: f64,
    },
}

impl Default for ZClipState {
    fn default() -> Self {
        Self::WarmUp(Vec::new())
    }
}

impl ZClip {
    /// The norm after clipping by z-score, and the state that follows.
    fn judge(&self, state: ZClipState, norm: f64) -> (f64, ZClipState) {
        match state {
            ZClipState::WarmUp(mut norms) => {
                norms.push(norm);
                if norms.len() < self.warmup_steps {
                    return (norm, ZClipState::WarmUp(norms));
                }
                let count = norms.len() as f64;
                let mean = norms.iter().sum::<f64>() / count;
                let variance = norms.iter().map(|norm| (norm - mean).powi(2)).sum::<f64>() / count;
                (norm, ZClipState::Running { mean, variance })
            }
            ZClipState::Running { mean, variance } => {
                let deviation = variance.sqrt();
                let z = (norm - mean) / (deviation + EPS);
                // A mean of zero says nothing about gradients, and a bound of zero would stop the
                // run for ever.
                let clipped = if z > self.z_threshold && mean > 0.0 {
                    mean + self.z_threshold * self.z_threshold / z * deviation
                } else {
                    norm
                };
                let mean = self.alpha * mean + (1.0 - self.alpha) * clipped;
                let variance =
                    self.alpha * variance + (1.0 - self.alpha) * (clipped - mean).powi(2);
                (clipped, ZClipState::Running { mean, variance })
            }
        }
    }
}

impl ClipPolicy for ZClip {
    type State = ZClipState;

    fn examples(_bound: f64) -> Vec<Self> {
        vec![Self::default().with_warmup_steps(4).with_max_norm(None)]
    }

    fn validate(&self) -> Result<(), SettingError> {
        let usable = (0.0..1.0).contains(&self.alpha);
        check(
            "alpha",
            self.alpha,
            usable,
            "give a number from 0 to below 1",
        )?;
        above("z_threshold", self.z_threshold, 0.0)?;
        let warmup = self.warmup_steps;
        check("warmup_steps", warmup, warmup > 0, "give at least 1")?;
        self.max_norm
            .map_or(Ok(()), |max_norm| above("max_norm", max_norm, 0.0))
    }

    fn step(&self, state: ZClipState, reading: &ClipReading) -> (ZClipState, Decision) {
        let norm = reading.global_norm();
        if !norm.is_finite() || reading.tensors.is_empty() {
            return (state, Decision::Keep);
        }
        let max_norm = self.max_norm.unwrap_or(f64::INFINITY);
        if norm > LARGEST {
            return (state, scale_to(norm, max_norm));
        }
        let (clipped, state) = self.judge(state, norm);
        let bound = clipped.min(max_norm);
        (state, scale_to(norm, bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    fn clip(warmup_steps: usize, max_norm: Option<f64>) -> ZClip {
        ZClip {
            warmup_steps,
            max_norm,
            ..ZClip::default()
        }
    }

    fn reading(norm: f64) -> ClipReading {
        ClipReading::from_stats([TensorStats::of(&[norm])])
    }

    /// By hand: mean 2, variance 1; a norm of 12 has z = 10.
    #[test]
    fn an_outlier_comes_down_towards_the_mean() {
        let clip = clip(2, None);
        let (state, first) = clip.step(ZClipState::default(), &reading(1.0));
        assert_eq!(state, ZClipState::WarmUp(vec![1.0]));
        let (state, second) = clip.step(state, &reading(3.0));
        assert_eq!((first, second), (Decision::Keep, Decision::Keep));
        assert_eq!(
            state,
            ZClipState::Running {
                mean: 2.0,
                variance: 1.0
            }
        );

        let (ordinary, decision) = clip.step(state.clone(), &reading(4.0));
        assert_eq!(decision, Decision::Keep);
        let mean = 0.97 * 2.0 + 0.03 * 4.0;
        let ZClipState::Running {
            mean: new_mean,
            variance,
        } = ordinary
        else {
            panic!("{ordinary:?}");
        };
        assert!((new_mean - mean).abs() < 1e-12);
        assert!((variance - (0.97 + 0.03 * (4.0f64 - mean).powi(2))).abs() < 1e-12);

        let (_, decision) = clip.step(state, &reading(12.0));
        let Decision::ScaleGlobal { coefficient } = decision else {
            panic!("{decision:?}");
        };
        assert!((coefficient * 12.0 - (2.0 + 6.25 / 10.0)).abs() < 1e-5);
    }

    #[test]
    fn the_fixed_bound_holds_in_the_warm_up_too() {
        let (_, decision) = clip(25, Some(0.5)).step(ZClipState::default(), &reading(2.0));
        assert_eq!(decision, Decision::ScaleGlobal { coefficient: 0.25 });
    }

    #[test]
    fn a_norm_beyond_squaring_is_not_remembered() {
        let (state, _) = clip(1, None).step(ZClipState::default(), &reading(1.0));
        let (after, decision) = clip(1, Some(2.0)).step(state.clone(), &reading(1e200));
        assert_eq!(
            (after, decision),
            (
                state,
                Decision::ScaleGlobal {
                    coefficient: 2e-200
                }
            )
        );
    }

    #[test]
    fn after_zeros_alone_the_first_gradient_passes() {
        let clip = clip(1, None);
        let (state, _) = clip.step(ZClipState::default(), &reading(0.0));
        let (state, decision) = clip.step(state, &reading(5.0));
        assert_eq!(decision, Decision::Keep);
        assert!(matches!(state, ZClipState::Running { mean, .. } if mean > 0.0));
    }

    /// A norm at the threshold does not stand out, and the largest norm is remembered.
    #[test]
    fn the_threshold_and_the_largest_norm_are_within_bounds() {
        let (mean, variance) = (1.0, 1.0);
        let tight = ZClip {
            z_threshold: (4.0 - mean) / (1.0 + EPS),
            ..clip(1, None)
        };
        let state = ZClipState::Running { mean, variance };
        assert_eq!(tight.step(state.clone(), &reading(4.0)).1, Decision::Keep);
        let (_, beyond) = tight.step(state, &reading(4.0f64.next_up()));
        assert!(matches!(beyond, Decision::ScaleGlobal { .. }), "{beyond:?}");

        for (norm, remembered) in [(LARGEST, vec![LARGEST]), (LARGEST.next_up(), vec![])] {
            let (state, _) = clip(2, None).step(ZClipState::default(), &reading(norm));
            assert_eq!(state, ZClipState::WarmUp(remembered));
        }
    }
}
