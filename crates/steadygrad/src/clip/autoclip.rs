use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::error::check;
use super::global_norm::scale_to;
use super::{ClipConfigError, ClipPolicy, ClipReading};
use crate::Decision;

/// AutoClip: clip by a percentile of the global norms seen so far, this one included.
///
/// `g <- g min(1, P / global_norm)`, where P is the `percentile`-th percentile of the last `window`
/// finite norms, interpolated linearly between neighbours (as `numpy.percentile` does).
///
/// Defaults: percentile 10, so nine steps in ten are clipped; window 10,000, which bounds the
/// memory (80 kB) where the paper keeps every norm. A NaN or infinite norm keeps everything and is
/// not remembered; zero norms are remembered; without any tensor nothing happens.
///
/// Source: Seetharaman, Wichern, Pardo and Le Roux, "AutoClip: adaptive gradient clipping for
/// source separation networks", 2020.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoClip {
    /// In `0..=100`.
    pub percentile: f64,
    /// How many norms are remembered; at least 1.
    pub window: usize,
}

impl Default for AutoClip {
    fn default() -> Self {
        Self {
            percentile: 10.0,
            window: 10_000,
        }
    }
}

/// The norms that [`AutoClip`] remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<f64>", into = "Vec<f64>")]
pub struct AutoClipState {
    /// In the order seen.
    norms: VecDeque<f64>,
    /// The same, from the smallest to the largest.
    sorted: Vec<f64>,
}

impl From<Vec<f64>> for AutoClipState {
    fn from(norms: Vec<f64>) -> Self {
        let mut sorted = norms.clone();
        sorted.sort_by(f64::total_cmp);
        Self {
            norms: norms.into(),
            sorted,
        }
    }
}

impl From<AutoClipState> for Vec<f64> {
    fn from(state: AutoClipState) -> Self {
        state.norms.into()
    }
}

impl AutoClipState {
    fn place(&self, norm: f64) -> usize {
        self.sorted.partition_point(|&other| other < norm)
    }

    fn remember(&mut self, norm: f64, window: usize) {
        self.sorted.insert(self.place(norm), norm);
        self.norms.push_back(norm);
        while self.norms.len() > window {
            if let Some(oldest) = self.norms.pop_front() {
                self.sorted.remove(self.place(oldest));
            }
        }
    }

    fn percentile(&self, percentile: f64) -> f64 {
        let place = percentile / 100.0 * (self.sorted.len() - 1) as f64;
        let below = self.sorted[place.floor() as usize];
        let above = self.sorted[place.ceil() as usize];
        below + (above - below) * place.fract()
    }
}

impl ClipPolicy for AutoClip {
    type State = AutoClipState;

    fn validate(&self) -> Result<(), ClipConfigError> {
        let percentile = self.percentile;
        let fine = (0.0..=100.0).contains(&percentile);
        check(
            "autoclip.percentile",
            percentile,
            fine,
            "give a number from 0 to 100",
        )?;
        check(
            "autoclip.window",
            self.window as f64,
            self.window > 0,
            "give at least 1",
        )
    }

    fn step(&self, mut state: AutoClipState, reading: &ClipReading) -> (AutoClipState, Decision) {
        let norm = reading.global_norm();
        if !norm.is_finite() || reading.tensors.is_empty() {
            return (state, Decision::Keep);
        }
        state.remember(norm, self.window);
        let decision = scale_to(norm, state.percentile(self.percentile));
        (state, decision)
    }
}
