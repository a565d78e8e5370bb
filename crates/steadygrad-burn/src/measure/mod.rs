//! Measures a module's tensors, wherever they lie.
//!
//! `measurement` measures all gradients of a module at once. It reads a CPU tensor in place
//! (`host`). It reduces a tensor on a device there (`device`), and reads all results back at once.
//! `norms` measures weights and their changes in the same way.
//! `moments` holds running means of the squared gradient, which some clipping policies read.
//! `walk` fixes the order of the parameters: every list with one entry a parameter is in it.

mod device;
mod host;
mod measurement;
mod moments;
mod norms;
mod walk;

pub(crate) use device::beyond_mask;
pub(crate) use host::HostTensor;
pub(crate) use measurement::{
    Measurement, ParameterOnHost, Tensors, measure, measure_gradients, measure_with_parameters,
};
pub(crate) use moments::{Moments, SavedMoment};
pub(crate) use norms::{difference, host_tensors, of_measured, tensor_norms, weights};
pub(crate) use walk::{PARAMETERS, Walk};
