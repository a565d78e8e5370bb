use fearless_simd::{Level, f32x8, prelude::*};

use super::{Rule, StepNorms, decayed, step};

/// The running means of Adam (Kingma and Ba, 2015, algorithm 1):
/// `m <- beta_1 m + (1 - beta_1) g`, `v <- beta_2 v + (1 - beta_2) g^2`.
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// Adam with its weight decay, if any, in the gradient: `g <- g + weight_decay w`, then
/// `w <- w - learning_rate c m / (sqrt(v) + epsilon b)` with `b = sqrt(1 - beta_2^t)` and
/// `c = b / (1 - beta_1^t)`, Kingma and Ba's faster order (2015, section 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    learning_rate: f32,
    weight_decay: Option<f32>,
    moments: Moments,
    correction: f32,
    epsilon: f32,
}

impl AdamStep {
    /// The `time`-th step, counted from 1.
    pub fn new(
        learning_rate: f32,
        [beta_1, beta_2]: [f32; 2],
        epsilon: f32,
        weight_decay: Option<f32>,
        time: i32,
    ) -> Self {
        let second = (1.0 - beta_2.powi(time)).sqrt();
        Self {
            learning_rate,
            weight_decay,
            moments: Moments { beta_1, beta_2 },
            correction: second / (1.0 - beta_1.powi(time)),
            epsilon: epsilon * second,
        }
    }

    /// Steps the weights of one tensor, `[len]` in any order that all slices share; the means begin at
    /// zero. Measures when asked to.
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
        step(Level::new(), self, weights, gradient, moments, measured)
    }
}

impl Rule<2> for AdamStep {
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

/// Adam with a decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2):
/// `w <- (1 - learning_rate weight_decay) w - learning_rate m' / (sqrt(v') + epsilon)` with
/// `m' = m / (1 - beta_1^t)` and `v' = v / (1 - beta_2^t)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    learning_rate: f32,
    /// What the weights are multiplied by; `None` leaves them.
    shrink: Option<f32>,
    moments: Moments,
    corrections: [f32; 2],
    epsilon: f32,
}

impl AdamWStep {
    /// The `time`-th step, counted from 1. The learning rate times the weight decay is rounded to
    /// f32 once.
    pub fn new(
        learning_rate: f64,
        [beta_1, beta_2]: [f32; 2],
        epsilon: f32,
        weight_decay: f32,
        time: i32,
    ) -> Self {
        let decay = learning_rate * f64::from(weight_decay);
        Self {
            learning_rate: learning_rate as f32,
            shrink: (decay != 0.0).then_some((1.0 - decay) as f32),
            moments: Moments { beta_1, beta_2 },
            corrections: [1.0 - beta_1.powi(time), 1.0 - beta_2.powi(time)],
            epsilon,
        }
    }

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
        step(Level::new(), self, weights, gradient, moments, measured)
    }
}

impl Rule<2> for AdamWStep {
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
