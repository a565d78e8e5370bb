use burn::optim::ModuleOptimizer;
use burn::optim::momentum::MomentumConfig;
use steadygrad_burn::optim::{Adam, AdamW, Sgd};

/// Kingma and Ba (2015), algorithm 1. Burn's default, 1e-5, is larger than many gradients of a
/// network that has learnt its task, and would shorten its steps.
const ADAM_EPSILON: f32 = 1e-8;

/// PyTorch's default.
const ADAMW_WEIGHT_DECAY: f32 = 0.01;

/// The optimizers of the lab.
///
/// The sharpness bounds the learning rate of SGD only: an adaptive optimizer rescales the gradient,
/// and with it the curvature. [`crate::measure`] measures no sharpness for the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent with the plan's momentum.
    #[default]
    Sgd,
    /// Adam with `beta = (0.9, 0.999)` and `epsilon = 1e-8` (Kingma and Ba, 2015).
    Adam,
    /// Adam with a decoupled weight decay of 0.01 (Loshchilov and Hutter, 2019).
    AdamW,
}

impl Optimizer {
    /// All names in a study.
    pub const NAMES: [&str; 3] = ["sgd", "adam", "adamw"];

    /// Its name in a study.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Sgd => "sgd",
            Optimizer::Adam => "adam",
            Optimizer::AdamW => "adamw",
        }
    }

    /// The optimizer of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Optimizer::Sgd, Optimizer::Adam, Optimizer::AdamW]
            .into_iter()
            .find(|optimizer| optimizer.name() == name)
    }

    /// The optimizer before its first step. Its results equal Burn's own to the bit. Only
    /// [`Optimizer::Sgd`] uses `momentum`.
    pub fn init(self, momentum: f64) -> ModuleOptimizer {
        match self {
            Optimizer::Sgd => {
                let momentum = (momentum > 0.0).then(|| {
                    MomentumConfig::new()
                        .with_momentum(momentum)
                        .with_dampening(0.0)
                });
                Sgd::default().with_momentum(momentum).into()
            }
            Optimizer::Adam => Adam::default().with_epsilon(ADAM_EPSILON).into(),
            Optimizer::AdamW => AdamW::default()
                .with_epsilon(ADAM_EPSILON)
                .with_weight_decay(ADAMW_WEIGHT_DECAY)
                .into(),
        }
    }
}
