//! steadygrad for [Burn](https://burn.dev): measures gradients, acts on the guard's decisions,
//! and changes weights by name.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{GradientsParams, SgdConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//! use steadygrad::clip::GlobalNormClip;
//! use steadygrad::{Guard, GuardConfig};
//!
//! let device = Device::flex().autodiff();
//! let mut model: Linear = LinearConfig::new(8, 1).init(&device);
//! let mut optimizer = SgdConfig::new().init();
//! let mut guard = Guard::new(GuardConfig::default().with_clip(GlobalNormClip::new(1.0)))?;
//! for step in 0..3 {
//!     let input = Tensor::<2>::random([16, 8], Distribution::Default, &device);
//!     let loss = model.forward(input).powi_scalar(2).mean();
//!     let value = f64::from(loss.clone().into_scalar::<f32>());
//!     let gradients = GradientsParams::from_grads(loss.backward(), &model);
//!     let done = steadygrad_burn::guarded_step(
//!         &mut guard, model, gradients, &mut optimizer, step, value, 0.01,
//!     );
//!     assert!(done.reading.gradients.global_norm().is_finite());
//!     model = done.model;
//! }
//! # Ok::<(), steadygrad::guard::GuardConfigError>(())
//! ```

mod apply;
mod clipper;
mod device;
mod gradients;
mod guarded_optimizer;
mod guarded_steps;
mod host;
mod learner_guard;
mod measure;
mod moments;
mod norms;
pub mod optim;
mod parameters;
mod stages;
mod step;
mod training_state;
mod walk;
mod weights;

pub use clipper::{GradientClipper, GradientClipperState};
pub use gradients::{gradient_stats, gradient_values, scale_gradients};
pub use guarded_optimizer::{GuardedOptimizer, Stepped};
pub use guarded_steps::Beside;
pub use learner_guard::LearnerGuard;
pub use parameters::{Parameter, for_each_parameter, map_parameters};
pub use stages::{BackwardProduct, Stages};
pub use step::{GuardedStep, guarded_step};
pub use training_state::{RestoreError, TrainingState};
pub use weights::{SpectralCap, perturb, scale_weights, weight_norms};
