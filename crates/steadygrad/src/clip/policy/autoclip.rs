use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::scaling::scale_to;
use crate::clip::{ClipPolicy, ClipReading};
use crate::setting::{SettingError, between, check};

/// AutoClip bounds the global norm by a percentile of the norms so far, this one included.
///
/// `g <- g min(1, P / global_norm)`, where P is the `percentile`-th percentile of the last `window`
/// finite norms, interpolated linearly between neighbours, as `numpy.percentile` does.
///
/// Defaults: percentile 10, so nine steps in ten are clipped; window 10,000, which bounds the
/// memory to 80 kB. The paper keeps every norm.
///
/// A NaN or infinite norm keeps everything and is not remembered. Zero norms are remembered.
/// Nothing happens without any tensor.
///
/// Source: Seetharaman, Wichern, Pardo and Le Roux, "AutoClip: adaptive gradient clipping for
/// source separation networks", 2020.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoClip {
    /// The percentile of the norms, in `0..=100`.
    pub percentile: f64,
    /// The number of norms that are remembered, at least 1.
    pub window: usize,
}

impl AutoClip {
    /// Sets the percentile of the norms.
    pub fn with_percentile(self, percentile: f64) -> Self {
        Self { percentile, ..self }
    }

    /// Sets the number of norms that are remembered.
    pub fn with_window(self, window: usize) -> Self {
        Self { window, ..self }
    }
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
    /// The norms in their order.
    norms: VecDeque<f64>,
    /// The norms from the smallest to the largest.
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

    fn examples(_bound: f64) -> Vec<Self> {
        vec![Self::default().with_percentile(50.0).with_window(7)]
    }

    fn validate(&self) -> Result<(), SettingError> {
        between("percentile", self.percentile, 0.0, 100.0)?;
        check("window", self.window, self.window > 0, "give at least 1")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    fn decide(clip: AutoClip, norms: &[f64]) -> (AutoClipState, Decision) {
        let start = (AutoClipState::default(), Decision::Keep);
        norms.iter().fold(start, |(state, _), &norm| {
            clip.step(state, &ClipReading::from_stats([TensorStats::of(&[norm])]))
        })
    }

    #[test]
    fn the_bound_is_the_percentile_of_the_window() {
        let clip = AutoClip {
            percentile: 50.0,
            window: 3,
        };
        // Of 4, 8, 16: the first norm has left the window.
        let (state, decision) = decide(clip, &[1.0, 4.0, 8.0, 16.0]);
        assert_eq!(Vec::from(state), [4.0, 8.0, 16.0]);
        assert_eq!(decision, Decision::ScaleGlobal { coefficient: 0.5 });
        // Between two neighbours, in proportion.
        let (_, decision) = decide(
            AutoClip {
                percentile: 75.0,
                ..clip
            },
            &[2.0, 4.0],
        );
        assert_eq!(
            decision,
            Decision::ScaleGlobal {
                coefficient: 3.5 / 4.0
            }
        );
    }

    #[test]
    fn equal_norms_leave_the_window_one_by_one() {
        let clip = AutoClip {
            percentile: 0.0,
            window: 2,
        };
        let (state, decision) = decide(clip, &[3.0, 3.0, 3.0, 6.0]);
        assert_eq!(Vec::from(state), [3.0, 6.0]);
        assert_eq!(decision, Decision::ScaleGlobal { coefficient: 0.5 });
    }

    #[test]
    fn a_broken_norm_and_no_tensor_are_not_remembered() {
        let clip = AutoClip::default();
        let (state, decision) = decide(clip, &[1.0, f64::NAN, f64::INFINITY]);
        assert_eq!(decision, Decision::Keep);
        assert_eq!(Vec::from(state.clone()), [1.0]);
        let (state, decision) = clip.step(state, &ClipReading::default());
        assert_eq!((Vec::from(state), decision), (vec![1.0], Decision::Keep));
    }
}
