//! One pass over CPU memory for a step, where all its tensors allow it.

#![allow(
    clippy::result_large_err,
    reason = "the error is the tensors themselves, as large as the success"
)]
#![cfg_attr(
    not(feature = "flex"),
    allow(
        unreachable_code,
        unused_variables,
        reason = "without the CPU backend there is no such tensor"
    )
)]

use burn::tensor::Tensor;
use steadygrad::stats::TensorStats;
use steadygrad::update::StepNorms;

use super::ledger;
use crate::measure::HostTensor;

/// The unchanged tensors of a step that cannot be made in one pass.
pub(super) struct TensorsElsewhere<const D: usize, const STATES: usize> {
    pub(super) weights: Tensor<D>,
    pub(super) gradient: Tensor<D>,
    pub(super) states: [Tensor<D>; STATES],
}

/// Makes a step in one pass and returns the new weights and states. Gives the tensors back as
/// [`TensorsElsewhere`] if they are not all f32 in CPU memory.
///
/// `work` gets weights, gradient, states, and whether it should measure. Memory that another tensor
/// shares is copied first, and so are values that are not in row-major order.
pub(super) fn in_place<const D: usize, const STATES: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    states: [Tensor<D>; STATES],
    work: impl FnOnce(&mut [f32], &[f32], [&mut [f32]; STATES], bool) -> Option<StepNorms>,
) -> Result<(Tensor<D>, [Tensor<D>; STATES]), TensorsElsewhere<D, STATES>> {
    let weights = HostTensor::take_f32(weights);
    let gradient = HostTensor::take_f32(gradient);
    let states = states.map(HostTensor::take_f32);
    let all_here = weights.is_ok() && gradient.is_ok() && states.iter().all(Result::is_ok);
    if !all_here {
        return Err(TensorsElsewhere {
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

/// A tensor in CPU memory, or one that is not.
type HostOrElsewhere<const D: usize> = Result<HostTensor, Tensor<D>>;

fn tensor<const D: usize>(taken: HostOrElsewhere<D>) -> Tensor<D> {
    taken.map_or_else(|tensor| tensor, HostTensor::into_tensor)
}

fn on_host<const D: usize>(taken: HostOrElsewhere<D>) -> HostTensor {
    match taken {
        Ok(host) if host.is_row_major() => host,
        Ok(host) => host.row_major(),
        Err(_) => unreachable!("the caller has checked that all tensors are in CPU memory"),
    }
}

/// Makes a step by tensor operations, and measures it if the results are f32 in CPU memory.
pub(super) fn by_tensors<const D: usize>(
    weights: Tensor<D>,
    change: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let before = ledger::is_open().then(|| HostTensor::take_f32(weights.clone()));
    let after = change(weights);
    if let Some(Ok(before)) = before
        && let Ok(on_host) = HostTensor::take_f32(after.clone())
        && let (Some(update_norm), Some(values)) = (before.distance(&on_host), on_host.f32_values())
    {
        let weight_norm = TensorStats::of(values).tensor_norm;
        let norms = StepNorms {
            update_norm,
            weight_norm,
        };
        ledger::enter(on_host, norms);
    }
    after
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    fn address(tensor: &Tensor<2>) -> usize {
        let host = HostTensor::new(tensor).unwrap();
        host.f32_values().unwrap().as_ptr() as usize
    }

    fn add(
        weights: &mut [f32],
        gradient: &[f32],
        [state]: [&mut [f32]; 1],
        _measured: bool,
    ) -> Option<StepNorms> {
        for ((weight, gradient), state) in weights.iter_mut().zip(gradient).zip(state) {
            *state += gradient;
            *weight += *state;
        }
        None
    }

    fn ramp(rows: usize, columns: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * columns).map(|at| at as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
    }

    #[test]
    fn memory_that_nobody_shares_is_changed_in_place() {
        let (weights, state) = (ramp(2, 3), ramp(2, 3));
        let at = [address(&weights), address(&state)];
        let stepped = in_place(weights, ramp(2, 3), [state], add);
        let (weights, [state]) = stepped.ok().unwrap();
        assert_eq!([address(&weights), address(&state)], at);
        let expected = [0.0, 3.0, 6.0, 9.0, 12.0, 15.0f32];
        assert_eq!(weights.into_data().as_slice::<f32>().unwrap(), expected);
    }

    #[test]
    fn shared_memory_is_copied_first() {
        let (weights, state) = (ramp(2, 3), ramp(2, 3));
        let shared = (weights.clone(), state.clone());
        let stepped = in_place(weights, ramp(2, 3), [state], add);
        let (weights, [state]) = stepped.ok().unwrap();
        assert_eq!(shared.0.into_data(), ramp(2, 3).into_data());
        assert_eq!(shared.1.into_data(), ramp(2, 3).into_data());
        assert_eq!(weights.into_data(), (ramp(2, 3) * 3).into_data());
        assert_eq!(state.into_data(), (ramp(2, 3) * 2).into_data());
    }

    #[test]
    fn another_memory_order_becomes_row_major() {
        let turned = || ramp(3, 2).transpose();
        let narrow = ramp(2, 4).narrow(1, 0, 3);
        for (weights, gradient, state) in [
            (turned(), ramp(2, 3), ramp(2, 3)),
            (ramp(2, 3), turned(), ramp(2, 3)),
            (ramp(2, 3), ramp(2, 3), narrow),
        ] {
            let expected_state = state.clone() + gradient.clone();
            let expected = weights.clone() + expected_state.clone();
            let stepped = in_place(weights, gradient, [state], add);
            let (weights, [state]) = stepped.ok().unwrap();
            assert_eq!(weights.into_data(), expected.into_data());
            assert_eq!(state.into_data(), expected_state.into_data());
        }
    }

    #[test]
    fn another_number_type_comes_back_as_it_was() {
        let half = || ramp(2, 3).cast(DType::F16);
        for (weights, gradient, state) in [
            (half(), ramp(2, 3), ramp(2, 3)),
            (ramp(2, 3), half(), ramp(2, 3)),
            (ramp(2, 3), ramp(2, 3), half()),
        ] {
            let before = [&weights, &gradient, &state].map(Tensor::to_data);
            let Err(elsewhere) = in_place(weights, gradient, [state], add) else {
                panic!("stepped in one pass");
            };
            let [state] = elsewhere.states;
            let after = [elsewhere.weights, elsewhere.gradient, state].map(Tensor::into_data);
            assert_eq!(after, before);
        }
    }
}
