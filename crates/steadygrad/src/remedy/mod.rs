//! The remedies: what can be changed in a training run so that its gradients stay bounded.
//!
//! Each remedy is one file. It holds the parameters, their words, their derivation from what was
//! measured, and the range that the random control draws from. `snippets/` has the code that a user
//! pastes, one file for Burn and one for PyTorch, which the tests run as it stands. `list.rs` names
//! every remedy once: the enum [`Remedy`] and [`REMEDIES`] follow from it, and a remedy that lacks
//! a part does not compile.

mod basis;
mod cap_spectral_norm;
mod clip_global_norm;
mod critical_init;
mod definition;
mod draw;
mod family;
mod list;
mod lower_learning_rate;
mod parameter;
mod reduce_depth;
mod rms_norm;
mod safe_product;
mod scale_residual;
mod short;
mod snippet;
#[cfg(test)]
mod tests;
mod truncate_bptt;
mod weight_decay;

pub use basis::{Basis, Derivation, NotApplicable};
pub use family::Family;
pub use list::*;
pub use parameter::{Parameter, Range, Value};
