use burn::optim::AdaptiveMomentumState;
use burn::tensor::Tensor;
use steadygrad::update::StepNorms;

use super::in_place::{TensorsElsewhere, in_place};

/// The decay rates of the running means of the gradient and of its square.
#[derive(Debug, Clone, Copy)]
pub(super) struct Betas(pub(super) [f32; 2]);

impl Default for Betas {
    fn default() -> Self {
        Self([0.9, 0.999])
    }
}

impl Betas {
    /// The corrections for the start from zero, `1 - beta^t` of both.
    pub(super) fn corrections(self, time: usize) -> [f32; 2] {
        self.0.map(|beta| 1.0 - beta.powi(time as i32))
    }

    /// Adds a gradient to the means, by tensor operations.
    pub(super) fn push<const D: usize>(
        self,
        gradient: Tensor<D>,
        state: Option<AdaptiveMomentumState<D>>,
    ) -> AdaptiveMomentumState<D> {
        let [beta_1, beta_2] = self.0;
        let first = gradient.clone().mul_scalar(1.0 - beta_1);
        let second = gradient.square().mul_scalar(1.0 - beta_2);
        match state {
            Some(state) => AdaptiveMomentumState {
                time: state.time + 1,
                moment_1: state.moment_1.mul_scalar(beta_1).add(first),
                moment_2: state.moment_2.mul_scalar(beta_2).add(second),
                ..state
            },
            None => AdaptiveMomentumState::new(1, first, second),
        }
    }
}

/// Takes one step: in one pass, or by tensor operations at the first step and where one pass is not
/// possible.
///
/// `one_pass` gets the number of the step, counted from 1, and then the arguments of
/// [`AdamStep::step`](steadygrad::update::AdamStep::step).
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
    let AdaptiveMomentumState {
        time,
        moment_1,
        moment_2,
        max_moment_2,
    } = state;
    let stepped = in_place(
        weights,
        gradient,
        [moment_1, moment_2],
        |weights, gradient, moments, measured| {
            one_pass(time as i32 + 1, weights, gradient, moments, measured)
        },
    );
    // `max_moment_2` comes from a record of AMSGrad. It stays as it is.
    let state = |time, [moment_1, moment_2]: [Tensor<D>; 2]| AdaptiveMomentumState {
        time,
        moment_1,
        moment_2,
        max_moment_2,
    };
    match stepped {
        Ok((weights, moments)) => (weights, state(time + 1, moments)),
        Err(TensorsElsewhere {
            weights,
            gradient,
            states,
        }) => by_tensors(weights, gradient, Some(state(time, states))),
    }
}
