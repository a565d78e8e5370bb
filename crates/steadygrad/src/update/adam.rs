use fearless_simd::{Level, f32x8, prelude::*};

use super::rule::{Rule, decayed};
use super::step::{StepNorms, step};

/// The running means of Adam (Kingma and Ba, 2015, algorithm 1):
/// `m <- beta_1 m + (1 - beta_1) g`, `v <- beta_2 v + (1 - beta_2) g^2`.
#[derive(Debug, Clone, Copy)]
struct Moments {
    beta_1: f32,
    beta_2: f32,
}

impl Moments {
    #[inline(always)]
    fn push<S: Simd>(self, gradient: f32x8<S>, [first, second]: &mut [f32x8<S>; 2]) {
        *first = *first * self.beta_1 + gradient * (1.0 - self.beta_1);
        *second = *second * self.beta_2 + gradient * gradient * (1.0 - self.beta_2);
    }
}

/// Adam with its weight decay, if any, in the gradient.
///
/// `g <- g + weight_decay w`, then `w <- w - learning_rate c m / (sqrt(v) + epsilon b)` with `b =
/// sqrt(1 - beta_2^t)` and `c = b / (1 - beta_1^t)`. Source: Kingma and Ba's faster order (2015,
/// section 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// The learning rate.
    pub learning_rate: f32,
    /// The shares of the two running means that stay at each step.
    pub betas: [f32; 2],
    /// The floor of the denominator.
    pub epsilon: f32,
    /// The L2 penalty; `None` adds nothing to the gradient.
    pub weight_decay: Option<f32>,
    /// The number of this step, counted from 1.
    pub time: i32,
}

impl AdamStep {
    /// Steps the weights of one tensor, `[len]` in any order that all slices share. The means begin
    /// at zero. Measures the step when `measured` is set.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn step(
        self,
        weights: &mut [f32],
        gradient: &[f32],
        moments: [&mut [f32]; 2],
        measured: bool,
    ) -> Option<StepNorms> {
        let rule = self.rule();
        step(Level::new(), rule, weights, gradient, moments, measured)
    }

    pub(super) fn rule(self) -> impl Rule<2> {
        let [beta_1, beta_2] = self.betas;
        let second = (1.0 - beta_2.powi(self.time)).sqrt();
        AdamRule {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            moments: Moments { beta_1, beta_2 },
            correction: second / (1.0 - beta_1.powi(self.time)),
            epsilon: self.epsilon * second,
        }
    }
}

/// [`AdamStep`] with its corrections computed.
#[derive(Debug, Clone, Copy)]
struct AdamRule {
    learning_rate: f32,
    weight_decay: Option<f32>,
    moments: Moments,
    correction: f32,
    epsilon: f32,
}

impl Rule<2> for AdamRule {
    #[inline(always)]
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        moments: &mut [f32x8<S>; 2],
    ) -> f32x8<S> {
        let gradient = decayed(self.weight_decay, weights, gradient);
        self.moments.push(gradient, moments);
        let [first, second] = *moments;
        let direction = first * self.correction / (second.sqrt() + self.epsilon);
        weights - direction * self.learning_rate
    }
}

/// Adam with a decoupled weight decay.
///
/// `w <- (1 - learning_rate weight_decay) w - learning_rate m' / (sqrt(v') + epsilon)` with
/// `m' = m / (1 - beta_1^t)` and `v' = v / (1 - beta_2^t)`. Source: Loshchilov and Hutter (2019,
/// algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate. Its product with the weight decay is rounded to f32 once.
    pub learning_rate: f64,
    /// The shares of the two running means that stay at each step.
    pub betas: [f32; 2],
    /// The floor of the denominator.
    pub epsilon: f32,
    /// The share of the weights that a learning rate of 1 takes off; 0 for none.
    pub weight_decay: f32,
    /// The number of this step, counted from 1.
    pub time: i32,
}

impl AdamWStep {
    /// As [`AdamStep::step`].
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn step(
        self,
        weights: &mut [f32],
        gradient: &[f32],
        moments: [&mut [f32]; 2],
        measured: bool,
    ) -> Option<StepNorms> {
        let rule = self.rule();
        step(Level::new(), rule, weights, gradient, moments, measured)
    }

    pub(super) fn rule(self) -> impl Rule<2> {
        let [beta_1, beta_2] = self.betas;
        let decay = self.learning_rate * f64::from(self.weight_decay);
        AdamWRule {
            learning_rate: self.learning_rate as f32,
            shrink: (decay != 0.0).then_some((1.0 - decay) as f32),
            moments: Moments { beta_1, beta_2 },
            corrections: [1.0 - beta_1.powi(self.time), 1.0 - beta_2.powi(self.time)],
            epsilon: self.epsilon,
        }
    }
}

/// [`AdamWStep`] with its corrections computed.
#[derive(Debug, Clone, Copy)]
struct AdamWRule {
    learning_rate: f32,
    /// The factor of the weights; `None` keeps them.
    shrink: Option<f32>,
    moments: Moments,
    corrections: [f32; 2],
    epsilon: f32,
}

impl Rule<2> for AdamWRule {
    #[inline(always)]
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        moments: &mut [f32x8<S>; 2],
    ) -> f32x8<S> {
        self.moments.push(gradient, moments);
        let [first, second] = *moments;
        let direction =
            first / self.corrections[0] / ((second / self.corrections[1]).sqrt() + self.epsilon);
        let weights = match self.shrink {
            Some(shrink) => weights * shrink,
            None => weights,
        };
        weights - direction * self.learning_rate
    }
}
