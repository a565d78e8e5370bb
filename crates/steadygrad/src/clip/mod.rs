//! Clipping policies: rules that bound a gradient, or the update an optimizer makes of it.
//!
//! A policy is a pure function `(settings, state, reading) -> (state, decision)`: see
//! [`ClipPolicy`]. [`Policy`] is any of them, `policy.rs` lists them, and each lives in its own
//! file of the folder `policy`. [`Clipper`] holds a policy with its state and runs it on
//! [`Gradients`]. [`Policy::Chain`] runs several policies in turn.
//!
//! ```
//! use steadygrad::clip::{Clipper, GlobalNormClip, ParameterSlices, SliceGradients};
//! use steadygrad::Workers;
//!
//! let mut clipper = Clipper::new(GlobalNormClip::new(1.0))?;
//! let mut gradient = [3.0f32, 4.0];
//! let mut gradients = SliceGradients {
//!     parameters: vec![ParameterSlices::new(&mut gradient[..])],
//!     workers: &Workers::single(),
//! };
//! let Ok(clipped) = clipper.clip(&mut gradients);
//! assert_eq!(clipped.before.global_norm(), 5.0);
//! assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[1] - 0.8).abs() < 1e-6);
//! # Ok::<(), steadygrad::setting::SettingError>(())
//! ```
//!
//! **NaN and infinity.** Neither enters a policy's state. Policies that scale by a norm keep
//! gradients with a non-finite norm as they are, because scaling would spread the NaN. The global
//! policies then keep everything, the per-tensor policies keep that tensor. [`ValueClip`] brings
//! infinite values to the bound and keeps NaN. The guard's work is to find and stop such a step.
//! Zero and empty gradients are kept.

mod apply;
mod clip_policy;
mod clipper;
mod policy;
mod reading;
mod scaling;
mod slices;

pub use clip_policy::{ClipPolicy, Target};
pub use clipper::{Clipped, Clipper};
pub use policy::*;
pub use reading::{ClipReading, Gradients, Needs, TensorReading, UnitNorms};
pub use slices::{ParameterSlices, SliceGradients};
