//! Clipping policies, one a file.
//!
//! Every policy is a pure function `(config, state, reading) -> (state, decision)`: see
//! [`ClipPolicy`]. [`Clipper`] holds one of them with its state, and can be saved and loaded in
//! mid-stream; [`Policy::Chain`] runs several in turn.
//!
//! | policy | bounds | remembers |
//! |---|---|---|
//! | [`ValueClip`] | each value | nothing |
//! | [`TensorNormClip`] | each tensor's norm | nothing |
//! | [`GlobalNormClip`] | the norm over all tensors, L2 or L-infinity | nothing |
//! | [`AdaptiveGradientClip`] | each unit's norm, by its weights' norm | nothing |
//! | [`AutoClip`] | the global norm, by a percentile of its history | a window of norms |
//! | [`ZClip`] | the global norm, by its running mean and deviation | two numbers |
//! | [`AdaGc`] | each tensor's norm, by its own running norm | a number a tensor |
//! | [`SpikeAwareClip`] | each value, by the optimizer's second moment | a step count |
//! | [`UpdateRmsClip`] | each tensor's update, by how stale the second moment is | nothing |
//! | [`Clippy`] | each tensor's update, by the weights it changes | nothing |
//!
//! **NaN and infinity.** A NaN or infinite value never enters a policy's state. Policies that scale
//! by a norm leave what has a non-finite norm as it is, because scaling would spread the NaN:
//! the global policies then keep everything, the per-tensor ones keep that tensor. [`ValueClip`]
//! brings infinite values to the bound and leaves NaN. Finding and stopping such a step is the
//! guard's work. A zero gradient and an empty one are kept.

mod adagc;
mod adaptive_gradient;
mod apply;
mod autoclip;
mod clipper;
mod clippy;
mod error;
mod global_norm;
mod policy;
mod reading;
mod slices;
mod spike_aware;
mod tensor_norm;
mod update_rms;
mod value;
mod zclip;

pub use adagc::{AdaGc, AdaGcState};
pub use adaptive_gradient::AdaptiveGradientClip;
pub(crate) use apply::scale;
pub use autoclip::{AutoClip, AutoClipState};
pub use clipper::{Clipped, Clipper};
pub use clippy::Clippy;
pub use error::ClipConfigError;
pub use global_norm::{GlobalNorm, GlobalNormClip};
pub use policy::{ClipPolicy, Policy, PolicyState, Target};
pub use reading::{ClipReading, Gradients, Needs, TensorReading, UnitNorms};
pub use slices::{ParameterSlices, SliceGradients};
pub use spike_aware::{SpikeAwareClip, SpikeAwareState};
pub use tensor_norm::TensorNormClip;
pub use update_rms::UpdateRmsClip;
pub use value::ValueClip;
pub use zclip::{ZClip, ZClipState};
