#![allow(
    clippy::result_large_err,
    reason = "a tensor that is given back is as large as one that is taken"
)]

use burn::tensor::Tensor;
use steadygrad::stats::{TensorStats, distance};
use steadygrad::update::StepNorms;

use super::ledger;
use crate::host::HostTensor;

/// Tensors that cannot be stepped in one pass.
pub(super) struct Apart<const D: usize, const STATES: usize> {
    pub(super) weights: Tensor<D>,
    pub(super) gradient: Tensor<D>,
    pub(super) states: [Tensor<D>; STATES],
}

/// The weights and states after a step in one pass over this machine's memory; [`Apart`] gives the
/// tensors back as they were, when they do not all lie there as f32 in the same order.
///
/// `work` gets weights, gradient, states, and whether it is to measure. Memory that another tensor
/// shares is copied first.
pub(super) fn in_place<const D: usize, const STATES: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    states: [Tensor<D>; STATES],
    work: impl FnOnce(&mut [f32], &[f32], [&mut [f32]; STATES], bool) -> Option<StepNorms>,
) -> Result<(Tensor<D>, [Tensor<D>; STATES]), Apart<D, STATES>> {
    let weights = HostTensor::take_f32(weights);
    let gradient = HostTensor::take_f32(gradient);
    let states = states.map(HostTensor::take_f32);
    let side_by_side = weights.as_ref().is_ok_and(|weights| {
        let others = states.iter().chain([&gradient]);
        let fits = |other: &Found<D>| other.as_ref().is_ok_and(|other| other.lies_like(weights));
        others.into_iter().all(fits)
    });
    if !side_by_side {
        return Err(Apart {
            weights: tensor(weights),
            gradient: tensor(gradient),
            states: states.map(tensor),
        });
    }
    let [mut weights, gradient] = [weights, gradient].map(on_host);
    let mut states = states.map(on_host);
    let norms = work(
        weights.f32_values_mut().unwrap_or_default(),
        gradient.f32_values().unwrap_or_default(),
        states
            .each_mut()
            .map(|state| state.f32_values_mut().unwrap_or_default()),
        ledger::is_open(),
    );
    if let Some(norms) = norms {
        ledger::enter(weights.clone(), norms);
    }
    Ok((weights.into_tensor(), states.map(HostTensor::into_tensor)))
}

type Found<const D: usize> = Result<HostTensor, Tensor<D>>;

fn tensor<const D: usize>(found: Found<D>) -> Tensor<D> {
    found.map_or_else(|tensor| tensor, HostTensor::into_tensor)
}

fn on_host<const D: usize>(found: Found<D>) -> HostTensor {
    match found {
        Ok(host) => host,
        Err(_) => unreachable!("looked at before"),
    }
}

/// A step made by operations on tensors, measured where its results can be read.
pub(super) fn by_tensors<const D: usize>(
    weights: Tensor<D>,
    change: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let before = ledger::is_open().then(|| HostTensor::take_f32(weights.clone()));
    let after = change(weights);
    if let Some(Ok(before)) = before
        && let Ok(on_host) = HostTensor::take_f32(after.clone())
        && on_host.lies_like(&before)
        && let (Some(old), Some(new)) = (before.f32_values(), on_host.f32_values())
    {
        let norms = StepNorms {
            update_norm: distance(old, new),
            weight_norm: TensorStats::of(new).tensor_norm,
        };
        ledger::enter(on_host, norms);
    }
    after
}
