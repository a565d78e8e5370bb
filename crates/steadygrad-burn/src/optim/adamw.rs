use burn::optim::LearningRate;
use burn::optim::{AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor};
use steadygrad::update::AdamWStep;

use super::boxed_state::BoxedState;
use super::in_place::by_tensors;
use super::moments::{Betas, step};

/// [`burn::optim::AdamW`] in one pass, without its AMSGrad and cautious variants. The defaults are
/// Burn's.
#[derive(Debug, Clone)]
pub struct AdamW {
    betas: Betas,
    epsilon: f32,
    weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            betas: Betas::default(),
            epsilon: 1e-5,
            weight_decay: 1e-4,
        }
    }
}

impl AdamW {
    /// Sets the decay rates of the means of the gradient and of its square, in `0..1`.
    #[must_use]
    pub fn with_betas(mut self, beta_1: f32, beta_2: f32) -> Self {
        self.betas = Betas([beta_1, beta_2]);
        self
    }

    /// Sets the number that is added to the square root of the second mean.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f32) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the share of the weights that a step at a learning rate of 1 removes.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f32) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    fn by_tensors<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdaptiveMomentumState<D>>,
    ) -> (Tensor<D>, AdaptiveMomentumState<D>) {
        let state = self.betas.push(gradient, state);
        let [first, second] = self.betas.corrections(state.time);
        let first = state.moment_1.clone().div_scalar(first);
        let second = state.moment_2.clone().div_scalar(second);
        let delta = first
            .div(second.sqrt().add_scalar(self.epsilon))
            .mul_scalar(learning_rate);
        let decay = learning_rate * f64::from(self.weight_decay);
        let weights = by_tensors(weights, |weights| {
            let shrunk = if decay == 0.0 {
                weights
            } else {
                weights.mul_scalar(1.0 - decay)
            };
            shrunk - delta
        });
        (weights, state)
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = BoxedState<AdamWState<D>>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (weights, state) = BoxedState::stepped(state, |state: Option<AdamWState<D>>| {
            let (weights, state) = step(
                tensor,
                grad,
                state.map(|state| state.momentum),
                |time, weights, gradient, moments, measured| {
                    let rule = AdamWStep {
                        learning_rate: lr,
                        betas: self.betas.0,
                        epsilon: self.epsilon,
                        weight_decay: self.weight_decay,
                        time,
                    };
                    rule.step(weights, gradient, moments, measured)
                },
                |weights, gradient, state| self.by_tensors(lr, weights, gradient, state),
            );
            (weights, AdamWState::new(state))
        });
        (weights, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        if state.0.momentum.moment_1.device() == *device {
            return state;
        }
        BoxedState::new(AdamWState::new(
            state.into_inner().momentum.to_device(device),
        ))
    }
}
