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
        let (clipped, state) = self.judge(state, norm);
        let bound = clipped.min(self.max_norm.unwrap_or(f64::INFINITY));
        (state, scale_to(norm, bound))
    }
}
