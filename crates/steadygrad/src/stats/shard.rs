use fearless_simd::Level;

use super::block::{BLOCK, BlockStats, Scale, read_blocks};
use super::exact_sum::ExactSum;
use super::values::with_slice;
use super::{TensorStats, Values};

/// The statistics of a part of a tensor, to be merged with those of the other parts.
///
/// Merging is exact: counts, the largest value and the sum of squares are the same to the bit, in
/// any order and grouping of the shards. Parts that are cut at multiples of [`Shard::BLOCK`] values
/// also give the bits of the whole tensor. Cut elsewhere, the norm may differ from the whole
/// tensor's by rounding inside the cut block (below 1e-13 relative).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shard {
    tiny: ExactSum,
    middle: ExactSum,
    huge: ExactSum,
    max_abs: f64,
    len: u64,
    nan: u64,
    infinite: u64,
    subnormal: u64,
    zero: u64,
}

impl Shard {
    /// The number of values that are summed together before sums are merged.
    pub(crate) const BLOCK: usize = BLOCK;

    /// Reads the values once, on this thread.
    pub(crate) fn of<'a>(values: impl Into<Values<'a>>) -> Self {
        Self::at_level(Level::new(), values.into())
    }

    fn at_level(level: Level, values: Values<'_>) -> Self {
        let mut shard = Self::default();
        shard.read(level, values);
        shard
    }

    /// Adds the values that follow those read before.
    pub(crate) fn read(&mut self, level: Level, values: Values<'_>) {
        with_slice!(Values, values, slice => {
            read_blocks(level, slice, &mut |block| self.add(block));
        });
    }

    /// Adds a block whose sum of squares is known. It counts for the norm alone.
    pub(crate) fn add_summed(&mut self, level: Level, sum_of_squares: f64, block: &[f32]) {
        // The square of an f32 never leaves f64's range: the sum is finite if the values are.
        if sum_of_squares.is_finite() {
            self.middle.add(sum_of_squares);
        } else {
            self.read(level, block.into());
        }
    }

    /// Starts anew and keeps the memory for the next tensor.
    pub(crate) fn clear(&mut self) {
        let [mut tiny, mut middle, mut huge] =
            [&mut self.tiny, &mut self.middle, &mut self.huge].map(std::mem::take);
        tiny.clear();
        middle.clear();
        huge.clear();
        *self = Self {
            tiny,
            middle,
            huge,
            ..Self::default()
        };
    }

    /// Adds another part of the same tensor.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.tiny.merge(&other.tiny);
        self.middle.merge(&other.middle);
        self.huge.merge(&other.huge);
        self.max_abs = self.max_abs.max(other.max_abs);
        self.len += other.len;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.subnormal += other.subnormal;
        self.zero += other.zero;
    }

    /// The statistics of all parts merged so far.
    pub(crate) fn stats(&self) -> TensorStats {
        TensorStats {
            tensor_norm: self.norm(),
            max_abs: self.max_abs,
            len: self.len,
            non_finite: self.nan + self.infinite,
            subnormal: self.subnormal,
            zero: self.zero,
        }
    }

    pub(super) fn add(&mut self, block: BlockStats) {
        let sum = match block.scale {
            Scale::Tiny => &mut self.tiny,
            Scale::Middle => &mut self.middle,
            Scale::Huge => &mut self.huge,
        };
        sum.add(block.sum_of_squares);
        self.max_abs = self.max_abs.max(block.max_abs);
        self.len += u64::from(block.len);
        self.nan += u64::from(block.nan);
        self.infinite += u64::from(block.infinite);
        self.subnormal += u64::from(block.subnormal);
        self.zero += u64::from(block.zero);
    }

    fn norm(&self) -> f64 {
        if self.nan > 0 {
            return f64::NAN;
        }
        if self.infinite > 0 {
            return f64::INFINITY;
        }
        let (tiny, middle, huge) = (self.tiny.value(), self.middle.value(), self.huge.value());
        // The smaller sum may vanish at the scale of the larger one. Then it does not matter.
        if huge > 0.0 {
            (huge + middle * Scale::DOWN * Scale::DOWN).sqrt() * Scale::UP
        } else if middle > 0.0 {
            (middle + tiny * Scale::DOWN * Scale::DOWN).sqrt()
        } else {
            tiny.sqrt() * Scale::DOWN
        }
    }
}

impl TensorStats {
    /// Reads a tensor's values once, on this thread.
    ///
    /// Squares are summed in f64, in fixed blocks and a fixed order, so every instruction set and
    /// every number of threads gives the same bits. [`Workers::measure`](crate::Workers::measure)
    /// reads many tensors at once.
    pub fn of<'a>(values: impl Into<Values<'a>>) -> Self {
        Shard::of(values).stats()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(len: usize, seed: u64) -> Vec<f32> {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..len)
            .map(|_| random.random_range(-1.0f32..1.0) * 10f32.powi(random.random_range(-20..20)))
            .collect()
    }

    proptest! {
        #[test]
        fn shards_cut_at_blocks_merge_to_the_whole_to_the_bit(
            seed in any::<u64>(),
            cuts in prop::collection::vec(0usize..8, 0..4),
            last in 0usize..8192,
        ) {
            let values = stream(7 * BLOCK + last, seed);
            let border = |cut: &usize| (cut * BLOCK).min(values.len());
            let mut borders: Vec<usize> = cuts.iter().map(border).collect();
            borders.extend([0, values.len()]);
            borders.sort_unstable();
            let mut shards: Vec<Shard> =
                borders.windows(2).map(|ends| Shard::of(&values[ends[0]..ends[1]])).collect();
            shards.reverse();
            let mut merged = Shard::default();
            shards.iter().for_each(|shard| merged.merge(shard));
            prop_assert_eq!(merged.stats(), TensorStats::of(&values));
        }

        #[test]
        fn shards_cut_anywhere_merge_alike_in_any_order(
            seed in any::<u64>(), cuts in prop::collection::vec(0usize..18_000, 1..6),
        ) {
            let values = stream(18_000, seed);
            let mut borders = cuts.clone();
            borders.extend([0, values.len()]);
            borders.sort_unstable();
            let shards: Vec<Shard> =
                borders.windows(2).map(|ends| Shard::of(&values[ends[0]..ends[1]])).collect();
            let merge = |shards: &mut dyn Iterator<Item = &Shard>| {
                let mut merged = Shard::default();
                shards.for_each(|shard| merged.merge(shard));
                merged.stats()
            };
            let forward = merge(&mut shards.iter());
            prop_assert_eq!(forward, merge(&mut shards.iter().rev()));
            let whole = TensorStats::of(&values);
            prop_assert!((forward.tensor_norm / whole.tensor_norm - 1.0).abs() < 1e-13);
            prop_assert_eq!(forward.max_abs, whole.max_abs);
            prop_assert_eq!(forward.zero + forward.subnormal, whole.zero + whole.subnormal);
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let values = stream(3 * BLOCK + 77, 7);
        let short: Vec<half::f16> = values
            .iter()
            .map(|&value| half::f16::from_f32(value))
            .collect();
        let brain: Vec<half::bf16> = values
            .iter()
            .map(|&value| half::bf16::from_f32(value))
            .collect();
        let wide: Vec<f64> = values
            .iter()
            .map(|&value| f64::from(value).powi(20))
            .collect();
        let sets: [Values<'_>; 4] = [
            (&values).into(),
            (&short).into(),
            (&brain).into(),
            (&wide).into(),
        ];
        for set in sets {
            assert_eq!(Shard::of(set), Shard::at_level(Level::baseline(), set));
        }
    }

    #[test]
    fn a_broken_shard_breaks_the_whole() {
        let mut whole = Shard::of(&[1.0f32, 2.0]);
        whole.merge(&Shard::of(&[f32::INFINITY]));
        assert_eq!(whole.stats().tensor_norm, f64::INFINITY);
        whole.merge(&Shard::of(&[f32::NAN, 0.0, 1e-40]));
        let stats = whole.stats();
        assert!(stats.tensor_norm.is_nan());
        assert_eq!(
            (stats.len, stats.non_finite, stats.zero, stats.subnormal),
            (6, 2, 1, 1)
        );
        assert_eq!(stats.max_abs, 2.0);
        assert_eq!(Shard::default().stats(), TensorStats::default());
    }
}
