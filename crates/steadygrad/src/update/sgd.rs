use fearless_simd::{Level, f32x8, prelude::*};

use super::rule::{Rule, decayed};
use super::step::{StepNorms, step};

/// Stochastic gradient descent with momentum and a weight decay in the gradient.
///
/// `g <- g + weight_decay w`, `v <- (1 - dampening) g + momentum v`, `w <- w - learning_rate v`.
/// With Nesterov's momentum `w <- w - learning_rate (g + momentum v)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub learning_rate: f32,
    /// The L2 penalty; `None` adds nothing to the gradient.
    pub weight_decay: Option<f32>,
    /// The share of the velocity that stays. Without a velocity it has no effect.
    pub momentum: f32,
    /// The share of the gradient that is added to the velocity: `1 - dampening`.
    pub gradient_share: f32,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
}

impl SgdStep {
    /// Steps the weights of one tensor, `[len]` in any order that all slices share. `velocity` is
    /// `None` without momentum. Measures the step when `measured` is set.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn step(
        self,
        weights: &mut [f32],
        gradient: &[f32],
        velocity: Option<&mut [f32]>,
        measured: bool,
    ) -> Option<StepNorms> {
        match (velocity, self.plain_momentum()) {
            (Some(velocity), Some(plain)) => {
                step(Level::new(), plain, weights, gradient, [velocity], measured)
            }
            (Some(velocity), None) => {
                step(Level::new(), self, weights, gradient, [velocity], measured)
            }
            (None, _) => step(Level::new(), self, weights, gradient, [], measured),
        }
    }

    /// The faster rule for a step without a penalty and without Nesterov's momentum.
    pub(super) fn plain_momentum(self) -> Option<PlainMomentum> {
        (self.weight_decay.is_none() && !self.nesterov).then_some(PlainMomentum {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            gradient_share: self.gradient_share,
        })
    }
}

impl Rule<0> for SgdStep {
    #[inline(always)]
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        _: &mut [f32x8<S>; 0],
    ) -> f32x8<S> {
        weights - decayed(self.weight_decay, weights, gradient) * self.learning_rate
    }
}

/// Momentum without a penalty and without Nesterov's correction, which is the usual case. It has no
/// branch for each eight values.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlainMomentum {
    learning_rate: f32,
    momentum: f32,
    gradient_share: f32,
}

impl Rule<1> for PlainMomentum {
    #[inline(always)]
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        [velocity]: &mut [f32x8<S>; 1],
    ) -> f32x8<S> {
        *velocity = gradient * self.gradient_share + *velocity * self.momentum;
        weights - *velocity * self.learning_rate
    }
}

impl Rule<1> for SgdStep {
    #[inline(always)]
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        [velocity]: &mut [f32x8<S>; 1],
    ) -> f32x8<S> {
        let gradient = decayed(self.weight_decay, weights, gradient);
        *velocity = gradient * self.gradient_share + *velocity * self.momentum;
        let direction = if self.nesterov {
            *velocity * self.momentum + gradient
        } else {
            *velocity
        };
        weights - direction * self.learning_rate
    }
}
