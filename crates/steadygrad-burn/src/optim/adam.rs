use burn::optim::LearningRate;
use burn::optim::decay::{WeightDecay, WeightDecayConfig};
use burn::optim::{AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor};
use steadygrad::update::AdamStep;

use super::boxed_state::BoxedState;
use super::in_place::by_tensors;
use super::moments::{Betas, step};

/// [`burn::optim::Adam`] in one pass, without its AMSGrad variant. The defaults are Burn's.
#[derive(Debug, Clone)]
pub struct Adam {
    betas: Betas,
    epsilon: f32,
    weight_decay: Option<WeightDecayConfig>,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            betas: Betas::default(),
            epsilon: 1e-5,
            weight_decay: None,
        }
    }
}

impl Adam {
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

    /// Sets an L2 penalty, which is added to the gradient.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: Option<WeightDecayConfig>) -> Self {
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
        let gradient = match &self.weight_decay {
            Some(decay) => WeightDecay::new(decay).transform(gradient, weights.clone()),
            None => gradient,
        };
        let state = self.betas.push(gradient, state);
        let [first, second] = self.betas.corrections(state.time);
        let second = second.sqrt();
        let root = state.moment_2.clone().sqrt();
        let direction = state
            .moment_1
            .clone()
            .mul_scalar(second / first)
            .div(root.add_scalar(self.epsilon * second));
        let delta = direction.mul_scalar(learning_rate);
        (by_tensors(weights, |weights| weights - delta), state)
    }
}

impl Optimizer for Adam {
    type State<const D: usize> = BoxedState<AdamState<D>>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let penalty = self.weight_decay.as_ref().map(|decay| decay.penalty);
        let (weights, state) = BoxedState::stepped(state, |state: Option<AdamState<D>>| {
            let (weights, state) = step(
                tensor,
                grad,
                state.map(|state| state.momentum),
                |time, weights, gradient, moments, measured| {
                    let rule = AdamStep {
                        learning_rate: lr as f32,
                        betas: self.betas.0,
                        epsilon: self.epsilon,
                        weight_decay: penalty,
                        time,
                    };
                    rule.step(weights, gradient, moments, measured)
                },
                |weights, gradient, state| self.by_tensors(lr, weights, gradient, state),
            );
            (weights, AdamState::new(state))
        });
        (weights, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        if state.0.momentum.moment_1.device() == *device {
            return state;
        }
        BoxedState::new(AdamState::new(
            state.into_inner().momentum.to_device(device),
        ))
    }
}
