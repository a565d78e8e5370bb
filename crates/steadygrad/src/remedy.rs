//! The six families of remedies as typed values.

use serde::{Deserialize, Serialize};

/// The six families of fixes for exploding gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Bound the gradient.
    Clip,
    /// Keep the weights small or near-isometric.
    Regularize,
    /// Start at criticality.
    Initialize,
    /// Normalise the activations.
    Normalize,
    /// Fewer layers, or a shorter backward pass through time.
    Simplify,
    /// A smaller learning rate.
    SlowDown,
}

impl Family {
    /// All six, in the order they are tried and shown.
    pub const ALL: [Family; 6] = [
        Family::Clip,
        Family::Regularize,
        Family::Initialize,
        Family::Normalize,
        Family::Simplify,
        Family::SlowDown,
    ];

    /// Its name, as in JSON and in a table.
    pub fn name(self) -> &'static str {
        match self {
            Family::Clip => "clip",
            Family::Regularize => "regularize",
            Family::Initialize => "initialize",
            Family::Normalize => "normalize",
            Family::Simplify => "simplify",
            Family::SlowDown => "slow_down",
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One concrete change to a training run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Remedy {
    /// Clip by the global norm. See [`crate::clip::GlobalNormClip`].
    ClipGlobalNorm {
        /// Largest global norm that passes.
        max_norm: f64,
    },
    /// After each update, scale every repeated weight matrix down to this spectral norm if it
    /// is above: `W <- W min(1, max_spectral_norm / |W|_2)`.
    CapSpectralNorm {
        /// Largest singular value that passes.
        max_spectral_norm: f64,
    },
    /// Rescale the initial weights: every repeated matrix to `gain`, the output matrix to gain 1
    /// and the input matrix to `gain / input_rms`, where a matrix's gain is `std * sqrt(fan_in)`.
    /// A recurrent network's input and output matrices are left as they are.
    CriticalInit {
        /// The gain of the repeated matrices.
        gain: f64,
        /// The input's root mean square, which the first matrix is divided by.
        input_rms: f64,
    },
    /// Scale what every residual block adds to its input: `x <- x + scale (block(x) - x)`. Of models
    /// whose `skip_share` was measured, as PyTorch's are; the lab's own subjects have no such blocks.
    ScaleResidual {
        /// The factor of the residual branches, below 1.
        scale: f64,
    },
    /// RMSNorm before the activation of every `every`-th repeated layer, starting at the first.
    RmsNorm {
        /// Distance between normalised layers; 1 is every layer.
        every: usize,
    },
    /// Use this many repeated layers.
    ReduceDepth {
        /// Number of repeated layers.
        depth: usize,
    },
    /// Stop the backward pass after this many time steps.
    TruncateBptt {
        /// Number of time steps the gradient flows back.
        time_steps: usize,
    },
    /// Use this learning rate.
    LowerLearningRate {
        /// The learning rate.
        learning_rate: f64,
    },
}

impl Remedy {
    /// The family it belongs to.
    pub fn family(&self) -> Family {
        match self {
            Remedy::ClipGlobalNorm { .. } => Family::Clip,
            Remedy::CapSpectralNorm { .. } => Family::Regularize,
            Remedy::CriticalInit { .. } | Remedy::ScaleResidual { .. } => Family::Initialize,
            Remedy::RmsNorm { .. } => Family::Normalize,
            Remedy::ReduceDepth { .. } | Remedy::TruncateBptt { .. } => Family::Simplify,
            Remedy::LowerLearningRate { .. } => Family::SlowDown,
        }
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Remedy::ClipGlobalNorm { max_norm } => {
                write!(f, "clip the global norm at {}", Short(*max_norm))
            }
            Remedy::CapSpectralNorm { max_spectral_norm } => {
                write!(f, "cap spectral norms at {}", Short(*max_spectral_norm))
            }
            Remedy::CriticalInit { gain, input_rms } => {
                write!(
                    f,
                    "start at gain {}, input / {}",
                    Short(*gain),
                    Short(*input_rms)
                )
            }
            Remedy::ScaleResidual { scale } => {
                write!(f, "scale residual branches by {}", Short(*scale))
            }
            Remedy::RmsNorm { every: 1 } => f.write_str("RMSNorm in every layer"),
            Remedy::RmsNorm { every } => write!(f, "RMSNorm in 1 of {every} layers"),
            Remedy::ReduceDepth { depth } => write!(f, "{depth} hidden layers"),
            Remedy::TruncateBptt { time_steps } => {
                write!(f, "backpropagate {time_steps} time steps")
            }
            Remedy::LowerLearningRate { learning_rate } => {
                write!(f, "learning rate {}", Short(*learning_rate))
            }
        }
    }
}

/// A number in a few characters: plain between 1e-3 and 1e4, scientific beyond.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.0.abs();
        if size != 0.0 && !(1e-3..1e4).contains(&size) {
            write!(f, "{:.2e}", self.0)
        } else {
            let digits = if size >= 100.0 {
                0
            } else if size >= 1.0 {
                2
            } else {
                4
            };
            write!(f, "{:.digits$}", self.0)
        }
    }
}
