use fearless_simd::{Level, dispatch, f64x4, prelude::*};

use super::element::{CHUNK, Element, Seen, Wide};
use super::prefetch::prefetch_beyond;

/// The number of values that are summed together before sums are merged. 32 KiB of f32 stay in a
/// near cache for the second look that a block with subnormal or non-finite values needs.
pub(crate) const BLOCK: usize = 8192;

/// The number of chunks that are summed side by side, to hide the latency of an addition. It is
/// fixed, as the size of a chunk is, because both set the order of the additions.
pub(crate) const SIDES: usize = 2;

/// A block whose largest value is beyond these is summed again with its values scaled by a power of
/// two, because its squares would leave f64's range. Only f64 gradients reach them.
const HUGE: f64 = f64::from_bits((1023 + 480) << 52);
const TINY: f64 = f64::from_bits((1023 - 400) << 52);

/// The power of two that multiplied the values of a block before they were squared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Scale {
    /// 2^600, for values below 2^-400.
    Tiny,
    /// None.
    #[default]
    Middle,
    /// 2^-600, for values above 2^480.
    Huge,
}

impl Scale {
    pub(super) const UP: f64 = f64::from_bits((1023 + 600) << 52);
    pub(super) const DOWN: f64 = f64::from_bits((1023 - 600) << 52);

    pub(super) fn for_largest(max_abs: f64) -> Self {
        if max_abs > HUGE {
            Self::Huge
        } else if max_abs < TINY && max_abs > 0.0 {
            Self::Tiny
        } else {
            Self::Middle
        }
    }

    pub(super) fn factor(self) -> f64 {
        match self {
            Self::Tiny => Self::UP,
            Self::Middle => 1.0,
            Self::Huge => Self::DOWN,
        }
    }
}

/// The statistics of one block.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct BlockStats {
    /// The sum over the finite values, times the scale's factor.
    pub(super) sum_of_squares: f64,
    pub(super) scale: Scale,
    /// The largest absolute finite value.
    pub(super) max_abs: f64,
    pub(super) len: u32,
    pub(super) nan: u32,
    pub(super) infinite: u32,
    pub(super) subnormal: u32,
    pub(super) zero: u32,
}

/// Passes the statistics of each block to `each`, with the best instructions that this machine has.
///
/// The chunks fix the order of the additions, and nothing is fused or reordered. So every
/// instruction set gives the same bits.
pub(super) fn read_blocks<E: Element>(
    level: Level,
    values: &[E],
    each: &mut dyn FnMut(BlockStats),
) {
    dispatch!(level, simd => {
        for block in values.chunks(BLOCK) {
            each(read_block(simd, block));
        }
    });
}

/// Reads a block once. Subnormal and non-finite values make it read the block a second time, from
/// the cache.
#[inline(always)]
fn read_block<S: Simd, E: Element>(simd: S, values: &[E]) -> BlockStats {
    let mut block = BlockStats {
        len: values.len() as u32,
        ..BlockStats::default()
    };
    if !read_ordinary(simd, values, &mut block) {
        classify(values, &mut block);
    }
    block.scale = Scale::for_largest(block.max_abs);
    if block.scale != Scale::Middle || block.nan + block.infinite > 0 {
        block.sum_of_squares = scaled_sum_of_squares(values, block.scale.factor());
    }
    block
}

/// Reads a block of normal numbers and zeros, and returns `false` if it has others. Zeros are
/// common: a ReLU or an input that is off makes them.
#[inline(always)]
fn read_ordinary<S: Simd, E: Element>(simd: S, values: &[E], block: &mut BlockStats) -> bool {
    let mut sum = BlockSum::new(simd);
    let mut seen = Seen::new(simd);
    let (chunks, rest) = values.as_chunks::<CHUNK>();
    let (groups, chunks) = chunks.as_chunks::<SIDES>();
    for group in groups {
        prefetch_beyond(group);
        for (side, chunk) in group.iter().enumerate() {
            sum.add::<E>(side, 0, &E::read(simd, chunk, &mut seen));
        }
    }
    for chunk in chunks {
        sum.add::<E>(0, 0, &E::read(simd, chunk, &mut seen));
    }
    let mut largest = seen.largest.reduce_max();
    let mut ordinary = seen.smallest.reduce_min() >= E::MAX_SUBNORMAL;
    let nonzero = seen.nonzero.as_slice().iter();
    let mut nonzero: u64 = nonzero.map(|&lane| lane.into()).sum();
    for value in rest {
        let magnitude = value.magnitude();
        let zero = magnitude == E::Bits::default();
        largest = largest.max(magnitude);
        ordinary &= zero || magnitude >= E::MIN_NORMAL;
        nonzero += u64::from(!zero);
    }
    block.sum_of_squares = sum.total(rest.iter().map(|value| E::widen(value.magnitude())));
    block.max_abs = E::widen(largest);
    block.zero = block.len - nonzero as u32;
    ordinary && largest < E::INFINITY
}

/// `sum value^2` of a block in a fixed order: the chunks alternate between the sides.
pub(crate) struct BlockSum<S: Simd>([Wide<S>; SIDES]);

impl<S: Simd> BlockSum<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Self {
        Self([[f64x4::splat(simd, 0.0); CHUNK / 4]; SIDES])
    }

    /// Adds the quarters of a chunk from `first` on.
    #[inline(always)]
    pub(crate) fn add<E: Element>(&mut self, side: usize, first: usize, wide: &[f64x4<S>]) {
        for (sum, wide) in self.0[side][first..].iter_mut().zip(wide) {
            *sum = E::add_square(*wide, *sum);
        }
    }

    /// Adds the absolute values after the last whole chunk, each in its own lane, and sums up.
    #[inline(always)]
    pub(crate) fn total(self, rest: impl Iterator<Item = f64>) -> f64 {
        let mut lanes = [0.0; CHUNK];
        for (index, lanes) in lanes.chunks_mut(4).enumerate() {
            (self.0[0][index] + self.0[1][index]).store_slice(lanes);
        }
        for (lane, wide) in lanes.iter_mut().zip(rest) {
            *lane += wide * wide;
        }
        lanes.iter().sum()
    }
}

/// Counts NaN, infinite, subnormal and zero values, and finds the largest finite value.
#[inline(always)]
fn classify<E: Element>(values: &[E], block: &mut BlockStats) {
    let zero = E::Bits::default();
    let (mut nan, mut infinite, mut zeros, mut below_normal) = (0, 0, 0, 0);
    let mut largest = zero;
    for &value in values {
        let magnitude = value.magnitude();
        nan += u32::from(magnitude > E::INFINITY);
        infinite += u32::from(magnitude == E::INFINITY);
        zeros += u32::from(magnitude == zero);
        below_normal += u32::from(magnitude < E::MIN_NORMAL);
        let finite = magnitude < E::INFINITY;
        largest = largest.max(if finite { magnitude } else { zero });
    }
    block.nan = nan;
    block.infinite = infinite;
    block.zero = zeros;
    block.subnormal = below_normal - zeros;
    block.max_abs = E::widen(largest);
}

/// `sum (factor * value)^2` over the finite values. It is rare, so it is plain.
#[inline(never)]
fn scaled_sum_of_squares<E: Element>(values: &[E], factor: f64) -> f64 {
    values
        .iter()
        .map(|value| value.magnitude())
        .filter(|&magnitude| magnitude < E::INFINITY)
        .map(|magnitude| (E::widen(magnitude) * factor).powi(2))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    #[test]
    fn only_values_beyond_the_borders_are_scaled() {
        for (max_abs, scale) in [
            (0.0, Scale::Middle),
            (TINY.next_down(), Scale::Tiny),
            (TINY, Scale::Middle),
            (HUGE, Scale::Middle),
            (HUGE.next_up(), Scale::Huge),
        ] {
            assert_eq!(Scale::for_largest(max_abs), scale, "{max_abs:e}");
        }
    }

    /// Squares as small as 2^-54 vanish one by one beside a 1, but not when each lane sums its own.
    #[test]
    fn plain_numbers_are_summed_in_lanes() {
        let mut values = [2f32.powi(-27); 8 * CHUNK];
        values[0] = 1.0;
        let one_by_one: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert_eq!(one_by_one, 1.0);
        // The squares in the lane of the 1 are lost; those of the 15 other lanes are not.
        let in_lanes = 1.0 + 120.0 * 2f64.powi(-54);
        assert_eq!(TensorStats::of(&values).tensor_norm, in_lanes.sqrt());
    }
}
