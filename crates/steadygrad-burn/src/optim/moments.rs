use burn::optim::AdaptiveMomentumState;
use burn::tensor::Tensor;
use steadygrad::update::StepNorms;

use super::in_place::{Apart, in_place};

/// How slowly the running means of the gradient and of its square move.
#[derive(Debug, Clone, Copy)]
pub(super) struct Betas(pub(super) [f32; 2]);

impl Default for Betas {
    fn default() -> Self {
        Self([0.9, 0.999])
    }
}

impl Betas {
    /// `1 - beta^t` of both.
    pub(super) fn corrections(self, time: usize) -> [f32; 2] {
        self.0.map(|beta| 1.0 - beta.powi(time as i32))
    }

    /// The means with one gradient more, by operations on tensors.
    pub(super) fn push<const D: usize>(
        self,
        gradient: Tensor<D>,
        state: Option<AdaptiveMomentumState<D>>,
    ) -> AdaptiveMomentumState<D> {
        let [beta_1, beta_2] = self.0;
        let first = gradient.clone().mul_scalar(1.0 - beta_1);
        let second = gradient.square().mul_scalar(1.0 - beta_2);
        match state {
            Some(state) => AdaptiveMomentumState::new(
                state.time + 1,
                state.moment_1.mul_scalar(beta_1).add(first),
                state.moment_2.mul_scalar(beta_2).add(second),
            ),
            None => AdaptiveMomentumState::new(1, first, second),
        }
    }
}

/// One step: in one pass from the second on, where it can be, else by operations on tensors.
///
/// `one_pass` gets which step it is, counted from 1, and what
/// [`AdamStep::step`](steadygrad::update::AdamStep::step) gets.
pub(super) fn step<const D: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    state: Option<AdaptiveMomentumState<D>>,
    one_pass: impl FnOnce(i32, &mut [f32], &[f32], [&mut [f32]; 2], bool) -> Option<StepNorms>,
    by_tensors: impl FnOnce(
        Tensor<D>,
        Tensor<D>,
        Option<AdaptiveMomentumState<D>>,
    ) -> (Tensor<D>, AdaptiveMomentumState<D>),
) -> (Tensor<D>, AdaptiveMomentumState<D>) {
    let Some(state) = state else {
        return by_tensors(weights, gradient, None);
    };
    let time = state.time + 1;
    let moments = [state.moment_1, state.moment_2];
    let stepped = in_place(
        weights,
        gradient,
        moments,
        |weights, gradient, moments, measured| {
            one_pass(time as i32, weights, gradient, moments, measured)
        },
    );
    match stepped {
        Ok((weights, [first, second])) => {
            (weights, AdaptiveMomentumState::new(time, first, second))
        }
        Err(Apart {
            weights,
            gradient,
            states: [first, second],
        }) => {
            let state = AdaptiveMomentumState::new(time - 1, first, second);
            by_tensors(weights, gradient, Some(state))
        }
    }
}
