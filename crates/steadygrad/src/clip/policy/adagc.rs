use serde::{Deserialize, Serialize};

use crate::Decision;
use crate::clip::scaling::coefficient;
use crate::clip::{ClipPolicy, ClipReading};
use crate::setting::{SettingError, above, check};

/// AdaGC bounds each tensor by a running mean of its own norm.
///
/// For the first `warmup_steps` steps the global norm is clipped to `warmup_max_norm`, and each
/// tensor's threshold gamma is the smallest clipped norm so far. Afterwards each tensor has
/// `g <- g min(1, ratio gamma / |g|)` and `gamma <- decay gamma + (1 - decay) |g_clipped|`.
///
/// Defaults: warmup_steps 100, warmup_max_norm 1, ratio 1.05, decay 0.98. It suits large
/// transformers, where the spike of one tensor hides in the global norm.
///
/// A tensor with a NaN or infinite value is kept, and so is its gamma. In the warm-up a non-finite
/// global norm keeps everything. A zero norm does not move gamma either: a parameter without a
/// gradient in the warm-up would otherwise stay at zero for ever. Empty tensors are kept.
///
/// Source: Wang et al., "AdaGC: improving training stability for large language model
/// pretraining", arXiv 2502.11034, 2025, algorithm 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaGC {
    /// The number of steps with a fixed global bound.
    pub warmup_steps: u64,
    /// The bound of the warm-up. Positive and finite.
    pub warmup_max_norm: f64,
    /// The largest multiple of its running norm that a tensor may reach. Positive and finite.
    pub ratio: f64,
    /// The share of the running norm that is kept at each step, in `0..1`.
    pub decay: f64,
}

impl AdaGC {
    /// Sets the number of steps with a fixed global bound.
    pub fn with_warmup_steps(self, warmup_steps: u64) -> Self {
        Self {
            warmup_steps,
            ..self
        }
    }

    /// Sets the bound of the warm-up.
    pub fn with_warmup_max_norm(self, warmup_max_norm: f64) -> Self {
        Self {
            warmup_max_norm,
            ..self
        }
    }

    /// Sets the largest multiple of its running norm that a tensor may reach.
    pub fn with_ratio(self, ratio: f64) -> Self {
        Self { ratio, ..self }
    }

    /// Sets the share of the running norm that is kept at each step.
    pub fn with_decay(self, decay: f64) -> Self {
        Self { decay, ..self }
    }
}

impl Default for AdaGC {
    fn default() -> Self {
        Self {
            warmup_steps: 100,
            warmup_max_norm: 1.0,
            ratio: 1.05,
            decay: 0.98,
        }
    }
}

/// The memory of [`AdaGC`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdaGCState {
    /// The number of steps so far.
    step: u64,
    /// The running norm of each tensor, in the reading's order. 0 before its first gradient.
    gamma: Vec<f64>,
}

impl AdaGC {
    fn warm_up(&self, gamma: &mut [f64], reading: &ClipReading) -> Decision {
        let norm = reading.global_norm();
        if !norm.is_finite() {
            return Decision::Keep;
        }
        let coefficient = coefficient(norm, self.warmup_max_norm);
        for (gamma, tensor) in gamma.iter_mut().zip(&reading.tensors) {
            let clipped = tensor.stats.tensor_norm * coefficient;
            if clipped > 0.0 {
                *gamma = if *gamma > 0.0 {
                    gamma.min(clipped)
                } else {
                    clipped
                };
            }
        }
        match coefficient {
            1.0 => Decision::Keep,
            coefficient => Decision::ScaleGlobal { coefficient },
        }
    }

    /// Moves the running norm of a tensor and returns the tensor's coefficient.
    fn by_tensor(&self, gamma: &mut f64, norm: f64) -> f64 {
        if !norm.is_finite() || norm == 0.0 {
            return 1.0;
        }
        if *gamma == 0.0 {
            *gamma = norm;
            return 1.0;
        }
        let coefficient = coefficient(norm, self.ratio * *gamma);
        *gamma = self.decay * *gamma + (1.0 - self.decay) * norm * coefficient;
        coefficient
    }
}

impl ClipPolicy for AdaGC {
    type State = AdaGCState;

    fn examples(bound: f64) -> Vec<Self> {
        vec![
            Self::default()
                .with_warmup_steps(3)
                .with_warmup_max_norm(bound),
        ]
    }

    fn validate(&self) -> Result<(), SettingError> {
        above("warmup_max_norm", self.warmup_max_norm, 0.0)?;
        above("ratio", self.ratio, 0.0)?;
        let usable = (0.0..1.0).contains(&self.decay);
        check(
            "decay",
            self.decay,
            usable,
            "give a number from 0 to below 1",
        )
    }

    fn step(&self, mut state: AdaGCState, reading: &ClipReading) -> (AdaGCState, Decision) {
        state.gamma.resize(reading.tensors.len(), 0.0);
        let decision = if state.step < self.warmup_steps {
            self.warm_up(&mut state.gamma, reading)
        } else {
            let norms = reading
                .tensors
                .iter()
                .map(|tensor| tensor.stats.tensor_norm);
            let coefficients = state.gamma.iter_mut().zip(norms);
            Decision::per_tensor(
                coefficients
                    .map(|(gamma, norm)| self.by_tensor(gamma, norm))
                    .collect(),
            )
        };
        state.step += 1;
        (state, decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    fn reading(norms: [f64; 2]) -> ClipReading {
        ClipReading::from_stats(norms.map(|norm| TensorStats::of(&[norm])))
    }

    #[test]
    fn the_warm_up_keeps_the_smallest_clipped_norm() {
        let clip = AdaGC {
            warmup_steps: 2,
            ..AdaGC::default()
        };
        let (state, decision) = clip.step(AdaGCState::default(), &reading([3.0, 4.0]));
        assert_eq!(decision, Decision::ScaleGlobal { coefficient: 0.2 });
        assert!((state.gamma[0] - 0.6).abs() < 1e-12 && (state.gamma[1] - 0.8).abs() < 1e-12);
        let (state, decision) = clip.step(state, &reading([0.5, 0.1]));
        assert_eq!(decision, Decision::Keep);
        assert_eq!(
            state,
            AdaGCState {
                step: 2,
                gamma: vec![0.5, 0.1]
            }
        );

        // Afterwards each tensor by itself: 0.5 is within 1.05 of its running norm, 2.1 is not.
        let (state, decision) = clip.step(state, &reading([0.5, 2.1]));
        let Decision::ScalePerTensor { coefficients } = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(coefficients[0], 1.0);
        assert!((coefficients[1] - 0.05).abs() < 1e-12);
        assert!((state.gamma[1] - (0.98 * 0.1 + 0.02 * 0.105)).abs() < 1e-12);
    }

    #[test]
    fn a_zero_norm_in_the_warm_up_moves_no_running_norm() {
        let clip = AdaGC::default();
        let (state, _) = clip.step(AdaGCState::default(), &reading([0.5, 0.25]));
        let (state, _) = clip.step(state, &reading([0.0, 0.125]));
        assert_eq!(state.gamma, [0.5, 0.125]);
    }

    #[test]
    fn a_tensor_without_a_gradient_in_the_warm_up_can_still_learn() {
        let clip = AdaGC {
            warmup_steps: 1,
            ..AdaGC::default()
        };
        let (state, _) = clip.step(AdaGCState::default(), &reading([0.5, 0.0]));
        let (state, decision) = clip.step(state, &reading([0.5, 7.0]));
        assert_eq!((decision, state.gamma[1]), (Decision::Keep, 7.0));
        let (state, decision) = clip.step(state, &reading([0.0, f64::NAN]));
        assert_eq!(
            (decision, &state.gamma[..]),
            (Decision::Keep, &[0.5, 7.0][..])
        );
    }
}
