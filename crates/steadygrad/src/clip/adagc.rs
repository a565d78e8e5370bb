use serde::{Deserialize, Serialize};

use super::error::{positive, share};
use super::tensor_norm::coefficient;
use super::{ClipConfigError, ClipPolicy, ClipReading};
use crate::Decision;

/// AdaGC: clip each tensor by a running mean of its own norm.
///
/// For the first `warmup_steps` steps the global norm is clipped to `warmup_max_norm`, and each
/// tensor's threshold gamma is the least clipped norm it has had. From then on
/// `g <- g min(1, ratio gamma / |g|)` by tensor, and
/// `gamma <- decay gamma + (1 - decay) |g_clipped|`.
///
/// Defaults: warmup_steps 100, warmup_max_norm 1, ratio 1.05, decay 0.98. For large transformers,
/// where one tensor's spike hides in the global norm.
///
/// A tensor with a NaN or infinite value is left as it is and does not move its gamma; in the
/// warm-up a non-finite global norm keeps everything. A zero norm does not move gamma either: a
/// parameter unused in the warm-up would otherwise be held at zero for ever. Empty is kept.
///
/// Source: Wang et al., "AdaGC: improving training stability for large language model
/// pretraining", arXiv 2502.11034, 2025, algorithm 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaGc {
    /// Steps with a fixed global bound.
    pub warmup_steps: u64,
    /// That bound.
    pub warmup_max_norm: f64,
    /// How far above its running norm a tensor may go.
    pub ratio: f64,
    /// Share of the running norm that is kept each step, in `0..1`.
    pub decay: f64,
}

impl Default for AdaGc {
    fn default() -> Self {
        Self {
            warmup_steps: 100,
            warmup_max_norm: 1.0,
            ratio: 1.05,
            decay: 0.98,
        }
    }
}

/// What [`AdaGc`] remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdaGcState {
    /// Steps seen.
    step: u64,
    /// Running norm of each tensor, in the reading's order; 0 while it has had no gradient.
    gamma: Vec<f64>,
}

impl AdaGc {
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

    /// A tensor's coefficient, moving its running norm.
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

impl ClipPolicy for AdaGc {
    type State = AdaGcState;

    fn validate(&self) -> Result<(), ClipConfigError> {
        positive("adagc.warmup_max_norm", self.warmup_max_norm)?;
        positive("adagc.ratio", self.ratio)?;
        share("adagc.decay", self.decay)
    }

    fn step(&self, mut state: AdaGcState, reading: &ClipReading) -> (AdaGcState, Decision) {
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
    fn the_warm_up_keeps_the_least_clipped_norm() {
        let clip = AdaGc {
            warmup_steps: 2,
            ..AdaGc::default()
        };
        let (state, decision) = clip.step(AdaGcState::default(), &reading([3.0, 4.0]));
        assert_eq!(decision, Decision::ScaleGlobal { coefficient: 0.2 });
        assert!((state.gamma[0] - 0.6).abs() < 1e-12 && (state.gamma[1] - 0.8).abs() < 1e-12);
        let (state, decision) = clip.step(state, &reading([0.5, 0.1]));
        assert_eq!(decision, Decision::Keep);
        assert_eq!(
            state,
            AdaGcState {
                step: 2,
                gamma: vec![0.5, 0.1]
            }
        );

        // Afterwards each tensor by itself: 0.5 is within 1.05 of its own, 2.1 is not.
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
        let clip = AdaGc::default();
        let (state, _) = clip.step(AdaGcState::default(), &reading([0.5, 0.25]));
        let (state, _) = clip.step(state, &reading([0.0, 0.125]));
        assert_eq!(state.gamma, [0.5, 0.125]);
    }

    #[test]
    fn a_tensor_without_a_gradient_in_the_warm_up_can_still_learn() {
        let clip = AdaGc {
            warmup_steps: 1,
            ..AdaGc::default()
        };
        let (state, _) = clip.step(AdaGcState::default(), &reading([0.5, 0.0]));
        let (state, decision) = clip.step(state, &reading([0.5, 7.0]));
        assert_eq!((decision, state.gamma[1]), (Decision::Keep, 7.0));
        let (state, decision) = clip.step(state, &reading([0.0, f64::NAN]));
        assert_eq!(
            (decision, &state.gamma[..]),
            (Decision::Keep, &[0.5, 7.0][..])
        );
    }
}
