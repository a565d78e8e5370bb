//! steadygrad for [Burn](https://burn.dev): a guard around a training step, clipping by any
//! policy, and the Jacobians of a model.
//!
//! Start with [`GuardedOptimizer`]. It stands where the optimizer stood. Before each update it
//! measures the gradients and asks a [`Guard`](steadygrad::Guard). The guard clips the gradient,
//! skips the step, lowers the learning rate, rolls back to the last good state, or stops the run.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{GradientsParams, SgdConfig};
//! use burn::tensor::{Device, Tensor};
//! use steadygrad::{Decision, Guard};
//! use steadygrad_burn::GuardedOptimizer;
//!
//! let device = Device::flex().autodiff();
//! let model: Linear = LinearConfig::new(8, 1).init(&device);
//! let before = model.weight.val().into_data();
//! let mut optimizer = GuardedOptimizer::new(Guard::default(), SgdConfig::new().init());
//!
//! // A batch with a NaN: loss and gradients are NaN, too.
//! let batch = Tensor::<2>::ones([16, 8], &device) * f32::NAN;
//! let loss = model.forward(batch).square().mean();
//! let value = loss.clone().into_scalar::<f64>();
//! let gradients = GradientsParams::from_grads(loss.backward(), &model);
//! let outcome = optimizer.step(0.01, model, gradients, value);
//!
//! assert!(matches!(outcome.report.judgement.decision, Decision::Skip { .. }));
//! assert_eq!(outcome.model.weight.val().into_data(), before);
//! ```
//!
//! | to | use |
//! |---|---|
//! | guard a loop of your own, with rollback | [`GuardedOptimizer`] |
//! | guard `burn-train`'s learner, with rollback | [`LearnerGuard`] |
//! | guard a single step, without rollback | [`StepWithoutRollback`] |
//! | clip only | [`GradientClipper`] |
//! | measure gradients and weights | [`gradient_stats`], [`weight_norms`] |
//! | measure how a model amplifies gradients | [`Stages`] |
//! | step faster on a CPU | [`optim`] |
//!
//! Arguments come in Burn's order: learning rate, model, gradients, then the loss.
//! No function here panics on NaN, infinite, zero or missing gradients.

mod apply;
mod clipper;
mod gradients;
mod guard;
mod measure;
pub mod optim;
mod outcome;
mod parameters;
mod stages;
mod weights;

pub use clipper::{GradientClipper, GradientClipperState};
pub use gradients::{gradient_stats, gradient_values, scale_gradients};
pub use guard::{
    GuardedOptimizer, LearnerGuard, LoopMeasurements, RestoreError, StepWithoutRollback,
    TrainingState,
};
pub use outcome::{GuardReport, StepOutcome};
pub use parameters::{Parameter, for_each_parameter, map_parameters};
pub use stages::{BackwardProduct, Stages};
pub use weights::{SpectralCap, scale_weights, weight_norms};
