use burn::optim::LearningRate;
use burn::optim::decay::{WeightDecay, WeightDecayConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{Optimizer, RecordState, StateSink, StateSource, join_path};
use burn::tensor::{Device, Tensor};
use steadygrad::update::SgdStep;

use super::boxed_state::BoxedState;
use super::in_place::{TensorsElsewhere, by_tensors, in_place};

/// [`burn::optim::Sgd`] in one pass. The defaults are Burn's: no momentum, no weight decay.
#[derive(Debug, Clone, Default)]
pub struct Sgd {
    momentum: Option<MomentumConfig>,
    weight_decay: Option<WeightDecayConfig>,
}

/// State of [`Sgd`]. A record of it is a record of [`burn::optim::SgdState`].
#[derive(Clone, Debug)]
pub struct SgdState<const D: usize> {
    /// The running sum of a parameter's gradients; `None` without momentum.
    velocity: Option<Tensor<D>>,
}

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.velocity {
            let data = velocity.to_data();
            out.push_tensor(&join_path(prefix, "momentum"), "velocity", data);
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let data = src.take_tensor(&join_path(prefix, "momentum"), "velocity");
        let velocity = data.map(|data| {
            let dtype = data.dtype();
            Tensor::from_data(data, (device, dtype))
        });
        Some(Self { velocity })
    }
}

impl Sgd {
    /// Sets the momentum.
    #[must_use]
    pub fn with_momentum(mut self, momentum: Option<MomentumConfig>) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets an L2 penalty, which is added to the gradient.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: Option<WeightDecayConfig>) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// The step in one pass at this learning rate.
    fn rule(&self, learning_rate: LearningRate) -> SgdStep {
        let momentum = self.momentum.as_ref();
        SgdStep {
            learning_rate: learning_rate as f32,
            weight_decay: self.weight_decay.as_ref().map(|decay| decay.penalty),
            momentum: momentum.map_or(0.0, |config| config.momentum as f32),
            gradient_share: momentum.map_or(1.0, |config| (1.0 - config.dampening) as f32),
            nesterov: momentum.is_some_and(|config| config.nesterov),
        }
    }

    fn step_tensor<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let rule = self.rule(learning_rate);
        match (velocity, &self.momentum) {
            (Some(velocity), Some(_)) => {
                let work = |weights: &mut [f32],
                            gradient: &[f32],
                            [velocity]: [&mut [f32]; 1],
                            measured| {
                    rule.step(weights, gradient, Some(velocity), measured)
                };
                match in_place(weights, gradient, [velocity], work) {
                    Ok((weights, [velocity])) => (weights, Some(velocity)),
                    Err(TensorsElsewhere {
                        weights,
                        gradient,
                        states: [velocity],
                    }) => self.by_tensors(learning_rate, weights, gradient, Some(velocity)),
                }
            }
            (_, Some(_)) => self.by_tensors(learning_rate, weights, gradient, None),
            (velocity, None) => {
                let work =
                    |weights: &mut [f32], gradient: &[f32], []: [&mut [f32]; 0], measured| {
                        rule.step(weights, gradient, None, measured)
                    };
                match in_place(weights, gradient, [], work) {
                    Ok((weights, [])) => (weights, velocity),
                    Err(TensorsElsewhere {
                        weights, gradient, ..
                    }) => {
                        let (weights, _) = self.by_tensors(learning_rate, weights, gradient, None);
                        (weights, velocity)
                    }
                }
            }
        }
    }

    /// Makes the step by tensor operations. The first velocity is the gradient, not damped.
    fn by_tensors<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let gradient = match &self.weight_decay {
            Some(decay) => WeightDecay::new(decay).transform(gradient, weights.clone()),
            None => gradient,
        };
        let (direction, velocity) = match &self.momentum {
            Some(config) => {
                let momentum = config.momentum as f32;
                let velocity = match velocity {
                    Some(velocity) => gradient
                        .clone()
                        .mul_scalar(1.0 - config.dampening)
                        .add(velocity.mul_scalar(momentum)),
                    None => gradient.clone(),
                };
                let direction = if config.nesterov {
                    velocity.clone().mul_scalar(momentum).add(gradient)
                } else {
                    velocity.clone()
                };
                (direction, Some(velocity))
            }
            None => (gradient, None),
        };
        let delta = direction.mul_scalar(learning_rate);
        (by_tensors(weights, |weights| weights - delta), velocity)
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = BoxedState<SgdState<D>>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (weights, state) = BoxedState::stepped(state, |state| {
            let velocity = state.and_then(|state| state.velocity);
            let (weights, velocity) = self.step_tensor(lr, tensor, grad, velocity);
            (weights, SgdState { velocity })
        });
        (weights, Some(state))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        if let Some(velocity) = &state.0.velocity
            && velocity.device() != *device
        {
            state.0.velocity = Some(velocity.clone().to_device(device));
        }
        state
    }
}
