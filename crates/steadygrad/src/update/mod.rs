//! Optimizer steps that measure themselves: one pass over a tensor turns gradient and optimizer
//! state into new weights, and what a guard has to know of the step falls out of it, in place of two
//! more passes over the memory.
//!
//! The arithmetic is that of Burn's optimizers in f32, in their order and rounded alike after each
//! operation, whatever the machine's instructions: the weights come out the same to the bit. NaN and
//! infinite values go through it as they would there.

mod adam;
mod sgd;

use fearless_simd::{Level, dispatch, f32x8, f64x4, prelude::*};

use crate::stats::Shard;

pub use adam::{AdamStep, AdamWStep};
pub use sgd::SgdStep;

/// Values that are changed at once.
const LANES: usize = 8;

/// What one step did to a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepNorms {
    /// L2 norm of the change: [`distance`](crate::stats::distance) from the weights before to those
    /// after, to the bit.
    pub update_norm: f64,
    /// L2 norm of the weights after it: their [`TensorStats`](crate::TensorStats)' `tensor_norm`, to
    /// the bit.
    pub weight_norm: f64,
}

/// What a rule does to eight values, which have `STATES` values of the optimizer's own each.
trait Rule<const STATES: usize>: Copy {
    /// The weights after the step. The states are changed as well.
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        states: &mut [f32x8<S>; STATES],
    ) -> f32x8<S>;
}

/// The gradient with an L2 penalty, if any.
#[inline(always)]
fn decayed<S: Simd>(penalty: Option<f32>, weights: f32x8<S>, gradient: f32x8<S>) -> f32x8<S> {
    match penalty {
        Some(penalty) => weights * penalty + gradient,
        None => gradient,
    }
}

/// Steps a whole tensor. Measured, a block at a time, while it is in the nearest cache.
///
/// # Panics
/// When the slices differ in length.
fn step<const STATES: usize>(
    level: Level,
    rule: impl Rule<STATES>,
    weights: &mut [f32],
    gradient: &[f32],
    states: [&mut [f32]; STATES],
    measured: bool,
) -> Option<StepNorms> {
    let len = weights.len();
    assert!(
        gradient.len() == len && states.iter().all(|state| state.len() == len),
        "weights, gradient and states have one length"
    );
    if !measured {
        dispatch!(level, simd => change(simd, rule, weights, gradient, states, &mut ()));
        return None;
    }
    let mut squares = Squares::default();
    let mut shard = Shard::default();
    let mut states = states.map(|state| state.chunks_mut(Shard::BLOCK));
    for (weights, gradient) in weights
        .chunks_mut(Shard::BLOCK)
        .zip(gradient.chunks(Shard::BLOCK))
    {
        let states = states
            .each_mut()
            .map(|state| state.next().unwrap_or_default());
        dispatch!(level, simd => change(simd, rule, weights, gradient, states, &mut squares));
        shard.read(level, (&*weights).into());
    }
    Some(StepNorms {
        update_norm: squares.norm(),
        weight_norm: shard.stats().tensor_norm,
    })
}

/// Whoever looks at changes, in their order.
trait Watch {
    /// Of [`LANES`] values, from the tensor's beginning.
    fn lanes<S: Simd>(&mut self, simd: S, half: usize, change: f32x8<S>);
    /// Of what is left after the last whole chunk.
    fn rest(&mut self, change: &[f32]);
}

impl Watch for () {
    #[inline(always)]
    fn lanes<S: Simd>(&mut self, _: S, _: usize, _: f32x8<S>) {}
    #[inline(always)]
    fn rest(&mut self, _: &[f32]) {}
}

/// Sums of squares in the order of [`distance`](crate::stats::distance): sixteen side by side, and
/// what is left over by itself.
#[derive(Default)]
struct Squares {
    sides: [[f64; 4]; 4],
    rest: f64,
}

impl Watch for Squares {
    #[inline(always)]
    fn lanes<S: Simd>(&mut self, simd: S, half: usize, change: f32x8<S>) {
        let (low, high) = simd.widen_f32x8(change);
        for (side, wide) in self.sides[2 * half..].iter_mut().zip([low, high]) {
            let sum = wide * wide + f64x4::from_slice(simd, side);
            sum.store_slice(side);
        }
    }
    #[inline(always)]
    fn rest(&mut self, change: &[f32]) {
        for change in change {
            self.rest += f64::from(*change).powi(2);
        }
    }
}

impl Squares {
    fn norm(&self) -> f64 {
        let [a, b, c, d] = self.sides;
        let lanes = (0..4).map(|lane| (a[lane] + b[lane]) + (c[lane] + d[lane]));
        (lanes.sum::<f64>() + self.rest).sqrt()
    }
}

#[inline(always)]
fn change<S: Simd, const STATES: usize>(
    simd: S,
    rule: impl Rule<STATES>,
    weights: &mut [f32],
    gradient: &[f32],
    mut states: [&mut [f32]; STATES],
    watch: &mut impl Watch,
) {
    let whole = weights.len() / (2 * LANES) * (2 * LANES);
    for at in (0..whole).step_by(2 * LANES) {
        for half in 0..2 {
            let part = at + half * LANES..at + (half + 1) * LANES;
            let before = f32x8::from_slice(simd, &weights[part.clone()]);
            let gradient = f32x8::from_slice(simd, &gradient[part.clone()]);
            let mut values = states
                .each_ref()
                .map(|state| f32x8::from_slice(simd, &state[part.clone()]));
            let after = rule.step(before, gradient, &mut values);
            after.store_slice(&mut weights[part.clone()]);
            for (state, values) in states.iter_mut().zip(values) {
                values.store_slice(&mut state[part.clone()]);
            }
            watch.lanes(simd, half, after - before);
        }
    }
    // Fewer than a chunk: zeros beside them, which nobody looks at afterwards.
    for at in (whole..weights.len()).step_by(LANES) {
        let part = at..weights.len().min(at + LANES);
        let padded = |values: &[f32]| {
            let mut eight = [0.0; LANES];
            eight[..part.len()].copy_from_slice(&values[part.clone()]);
            f32x8::from_slice(simd, &eight)
        };
        let before = padded(weights);
        let mut values = states.each_ref().map(|state| padded(state));
        let after = rule.step(before, padded(gradient), &mut values);
        let mut eight = [0.0; LANES];
        after.store_slice(&mut eight);
        weights[part.clone()].copy_from_slice(&eight[..part.len()]);
        for (state, values) in states.iter_mut().zip(values) {
            values.store_slice(&mut eight);
            state[part.clone()].copy_from_slice(&eight[..part.len()]);
        }
        (after - before).store_slice(&mut eight);
        watch.rest(&eight[..part.len()]);
    }
}

#[cfg(test)]
mod tests;
