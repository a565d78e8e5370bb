use fearless_simd::{Level, dispatch, f32x8, f64x4, prelude::*};

use super::rule::Rule;
use crate::stats::{BlockSum, CHUNK, SIDES, Shard};

/// The number of values that are changed at once.
const LANES: usize = 8;

/// The norms of one step on a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepNorms {
    /// The L2 norm of the change. It equals [`distance`](crate::stats::distance) from the weights
    /// before to those after, to the bit.
    pub update_norm: f64,
    /// The L2 norm of the weights after the step. It equals the `tensor_norm` of their
    /// [`TensorStats`](crate::TensorStats), to the bit.
    pub weight_norm: f64,
}

/// Steps a whole tensor. Measures the step when `measured` is set.
///
/// # Panics
/// When the slices differ in length.
pub(super) fn step<const STATES: usize>(
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
    let mut change_squares = ChangeSquares::default();
    if !measured {
        dispatch!(level, simd => {
            let squares = &mut change_squares;
            change::<_, _, STATES, false>(simd, rule, weights, gradient, states, squares)
        });
        return None;
    }
    let mut shard = Shard::default();
    let mut states = states.map(|state| state.chunks_mut(Shard::BLOCK));
    for (weights, gradient) in weights
        .chunks_mut(Shard::BLOCK)
        .zip(gradient.chunks(Shard::BLOCK))
    {
        let states = states
            .each_mut()
            .map(|state| state.next().unwrap_or_default());
        let weight_squares = dispatch!(level, simd => {
            change::<_, _, STATES, true>(simd, rule, weights, gradient, states, &mut change_squares)
        });
        shard.add_summed(level, weight_squares, weights);
    }
    Some(StepNorms {
        update_norm: change_squares.norm(),
        weight_norm: shard.stats().tensor_norm,
    })
}

/// Sums of squared changes in the order of [`distance`](crate::stats::distance): sixteen side by
/// side, and the values after the last whole chunk by themselves.
#[derive(Default)]
struct ChangeSquares {
    sides: [[f64; 4]; 4],
    rest: f64,
}

impl ChangeSquares {
    fn norm(&self) -> f64 {
        let [a, b, c, d] = self.sides;
        let lanes = (0..4).map(|lane| (a[lane] + b[lane]) + (c[lane] + d[lane]));
        (lanes.sum::<f64>() + self.rest).sqrt()
    }
}

/// The sums that take the squares of a chunk: of the changes, and of the new weights on one side.
struct Squares<'a, S: Simd> {
    changes: &'a mut [f64x4<S>; 4],
    weights: &'a mut BlockSum<S>,
    side: usize,
}

/// Changes one chunk.
#[inline(always)]
fn change_chunk<S: Simd, const STATES: usize>(
    simd: S,
    rule: impl Rule<STATES>,
    weights: &mut [f32; CHUNK],
    gradient: &[f32; CHUNK],
    mut states: [&mut [f32; CHUNK]; STATES],
    mut squares: Option<Squares<'_, S>>,
) {
    for half in 0..CHUNK / LANES {
        let part = half * LANES..(half + 1) * LANES;
        let before = f32x8::from_slice(simd, &weights[part.clone()]);
        let gradient = f32x8::from_slice(simd, &gradient[part.clone()]);
        let mut values = [f32x8::splat(simd, 0.0); STATES];
        for (values, state) in values.iter_mut().zip(&states) {
            *values = f32x8::from_slice(simd, &state[part.clone()]);
        }
        let after = rule.step(before, gradient, &mut values);
        after.store_slice(&mut weights[part.clone()]);
        for (state, values) in states.iter_mut().zip(values) {
            values.store_slice(&mut state[part.clone()]);
        }
        if let Some(Squares {
            changes,
            weights,
            side,
        }) = &mut squares
        {
            let (low, high) = simd.widen_f32x8(after - before);
            changes[2 * half] = low.mul_add(low, changes[2 * half]);
            changes[2 * half + 1] = high.mul_add(high, changes[2 * half + 1]);
            let (low, high) = simd.widen_f32x8(after);
            weights.add::<f32>(*side, 2 * half, &[low, high]);
        }
    }
}

/// Changes a block, or a whole tensor without measuring. Returns the sum of the new weights'
/// squares when `MEASURED`.
#[inline(always)]
fn change<S: Simd, R: Rule<STATES>, const STATES: usize, const MEASURED: bool>(
    simd: S,
    rule: R,
    weights: &mut [f32],
    gradient: &[f32],
    mut states: [&mut [f32]; STATES],
    change_squares: &mut ChangeSquares,
) -> f64 {
    let mut changes = [f64x4::splat(simd, 0.0); 4];
    for (sum, side) in changes.iter_mut().zip(&change_squares.sides) {
        *sum = f64x4::from_slice(simd, side);
    }
    let mut sum = BlockSum::new(simd);
    let whole = weights.len() / CHUNK * CHUNK;
    {
        // Cut to one length, so that the compiler drops the check of each index.
        let weights = weights.as_chunks_mut::<CHUNK>().0;
        let count = weights.len();
        let gradient = &gradient.as_chunks::<CHUNK>().0[..count];
        let mut states = states
            .each_mut()
            .map(|state| &mut state.as_chunks_mut::<CHUNK>().0[..count]);
        for group in (0..count).step_by(SIDES) {
            for side in 0..SIDES {
                let at = group + side;
                if at < count {
                    let squares = MEASURED.then_some(Squares {
                        changes: &mut changes,
                        weights: &mut sum,
                        side,
                    });
                    let states = states.each_mut().map(|state| &mut state[at]);
                    change_chunk(simd, rule, &mut weights[at], &gradient[at], states, squares);
                }
            }
        }
    }
    for (side, sum) in change_squares.sides.iter_mut().zip(changes) {
        sum.store_slice(side);
    }
    for at in (whole..weights.len()).step_by(LANES) {
        let part = at..weights.len().min(at + LANES);
        let states = states.each_mut().map(|state| &mut state[part.clone()]);
        let (count, weights) = (part.len(), &mut weights[part.clone()]);
        let changes = change_few(simd, rule, weights, &gradient[part], states);
        if MEASURED {
            // One by one, in the order of `distance`: a sum of eight would round differently.
            for change in &changes[..count] {
                change_squares.rest += f64::from(*change).powi(2);
            }
        }
    }
    sum.total(
        weights[whole..]
            .iter()
            .map(|&weight| f64::from(weight.abs())),
    )
}

/// Changes at most eight values, padded with zeros. Returns the changes.
#[inline(always)]
fn change_few<S: Simd, const STATES: usize>(
    simd: S,
    rule: impl Rule<STATES>,
    weights: &mut [f32],
    gradient: &[f32],
    mut states: [&mut [f32]; STATES],
) -> [f32; LANES] {
    let count = weights.len();
    let padded = |values: &[f32]| {
        let mut eight = [0.0; LANES];
        eight[..count].copy_from_slice(values);
        f32x8::from_slice(simd, &eight)
    };
    let before = padded(weights);
    let mut values = states.each_ref().map(|state| padded(state));
    let after = rule.step(before, padded(gradient), &mut values);
    let mut eight = [0.0; LANES];
    after.store_slice(&mut eight);
    weights.copy_from_slice(&eight[..count]);
    for (state, values) in states.iter_mut().zip(values) {
        values.store_slice(&mut eight);
        state.copy_from_slice(&eight[..count]);
    }
    (after - before).store_slice(&mut eight);
    eight
}
