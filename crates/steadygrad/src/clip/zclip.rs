use serde::{Deserialize, Serialize};

use super::error::{check, positive, share};
use super::global_norm::scale_to;
use super::{ClipConfigError, ClipPolicy, ClipReading};
use crate::Decision;

/// ZClip: clip global norms that stand out from their running mean.
///
/// After `warmup_steps` norms, which give the first mean mu and variance sigma^2:
/// `z = (norm - mu) / (sigma + 1e-6)`. Where `z > z_threshold`, the norm is brought down to
/// `mu + z_threshold^2 / z * sigma`: the further out, the closer to the mean. Then
/// `mu <- alpha mu + (1 - alpha) n` and `sigma^2 <- alpha sigma^2 + (1 - alpha) (n - mu)^2` with the
/// new mu and the norm n as clipped. `max_norm` is a fixed bound on top, in the warm-up too.
///
/// Defaults: alpha 0.97, z_threshold 2.5, warmup_steps 25, max_norm 1. A NaN or infinite norm keeps
/// everything and is not remembered; zero norms are remembered; without any tensor nothing happens.
///
/// Source: Kumar, Owen, Chowdhury and Guera, "ZClip: adaptive spike mitigation for LLM
/// pre-training", arXiv 2504.02507, 2025.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZClip {
    /// Share of the old mean and variance that is kept each step, in `0..1`.
    pub alpha: f64,
    /// How many deviations above the mean a norm may lie.
    pub z_threshold: f64,
    /// Norms seen before the first judgement; at least 1.
    pub warmup_steps: usize,
    /// A fixed bound on the global norm as well.
    pub max_norm: Option<f64>,
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

/// Norms beyond this, which only f64 gradients have, are not remembered: their squares would take
/// the variance to infinity.
const LARGEST: f64 = 1e150;

/// What [`ZClip`] remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZClipState {
    /// The norms of the warm-up so far.
    WarmUp(Vec<f64>),
    /// The running moments.
    Running {
        /// Of the clipped norms.
        mean: f64,
        /// Of the clipped norms.
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
                // Until there has been a gradient there is nothing to judge by, and a bound of zero
                // would hold the run there for ever.
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

    fn validate(&self) -> Result<(), ClipConfigError> {
        share("zclip.alpha", self.alpha)?;
        positive("zclip.z_threshold", self.z_threshold)?;
        let warmup = self.warmup_steps;
        check(
            "zclip.warmup_steps",
            warmup as f64,
            warmup > 0,
            "give at least 1",
        )?;
        self.max_norm
            .map_or(Ok(()), |max_norm| positive("zclip.max_norm", max_norm))
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
    fn after_nothing_but_zeros_the_first_gradient_passes() {
        let clip = clip(1, None);
        let (state, _) = clip.step(ZClipState::default(), &reading(0.0));
        let (state, decision) = clip.step(state, &reading(5.0));
        assert_eq!(decision, Decision::Keep);
        assert!(matches!(state, ZClipState::Running { mean, .. } if mean > 0.0));
    }

    /// A norm at the threshold does not stand out, and one at the largest is remembered.
    #[test]
    fn the_threshold_and_the_largest_norm_are_within() {
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
