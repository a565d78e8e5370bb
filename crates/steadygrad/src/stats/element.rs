use fearless_simd::{f32x8, f64x4, prelude::*, u16x16, u32x8, u64x4};
use half::{bf16, f16};

/// The number of values that are read together.
pub(crate) const CHUNK: usize = 16;

/// The absolute values of a chunk as f64, in their order.
pub(crate) type Wide<S> = [f64x4<S>; 4];

/// A floating-point type of gradients. Without the sign, its bits grow with the magnitude, so
/// integer comparisons find zero, subnormal and non-finite values.
pub(crate) trait Element: Copy + Send + Sync {
    type Bits: SimdIntElement + Ord + Default + From<bool> + Into<u64>;

    /// The bits of several values.
    type Lanes<S: Simd>: SimdInt<S, Element = Self::Bits>;

    /// The magnitude bits of the smallest normal value.
    const MIN_NORMAL: Self::Bits;
    /// The magnitude bits of the largest subnormal value.
    const MAX_SUBNORMAL: Self::Bits;
    /// The magnitude bits of infinity. Larger ones are NaN.
    const INFINITY: Self::Bits;

    /// The bits without the sign.
    fn magnitude(self) -> Self::Bits;
    /// The absolute value as f64. Exact for a finite value, unspecified for a non-finite one.
    fn widen(magnitude: Self::Bits) -> f64;

    /// The value as f64, exact.
    fn value(self) -> f64;
    /// The nearest value to an f64.
    fn narrow(value: f64) -> Self;

    /// Reads a chunk, and notes its magnitudes in `seen`.
    fn read<S: Simd>(simd: S, chunk: &[Self; CHUNK], seen: &mut Seen<Self::Lanes<S>>) -> Wide<S>;
    /// `sum + wide^2`. Fused or not, the result is the same: the square of a value with at most 24
    /// bits is exact in f64.
    #[inline(always)]
    fn add_square<S: Simd>(wide: f64x4<S>, sum: f64x4<S>) -> f64x4<S> {
        wide.mul_add(wide, sum)
    }
}

/// The magnitudes of many values, lane by lane.
pub(crate) struct Seen<L> {
    pub(crate) largest: L,
    /// The smallest magnitude that is not zero, minus one.
    pub(crate) smallest: L,
    pub(crate) nonzero: L,
}

impl<L> Seen<L> {
    /// Starts without any value.
    #[inline(always)]
    pub(crate) fn new<S: Simd>(simd: S) -> Self
    where
        L: SimdInt<S, Element: From<bool>>,
    {
        let zero = L::splat(simd, false.into());
        Self {
            largest: zero,
            smallest: !zero,
            nonzero: zero,
        }
    }

    #[inline(always)]
    fn add<S: Simd>(&mut self, magnitude: L)
    where
        L: SimdInt<S, Element: From<bool>>,
    {
        let one = L::Element::from(true);
        self.largest = self.largest.max(magnitude);
        // Zero wraps around to the top.
        self.smallest = self.smallest.min(magnitude - one);
        self.nonzero += magnitude.min(one);
    }
}

macro_rules! bits {
    (
        $bits:ty, $min_normal:expr, $infinity:expr,
        |$magnitude:ident| $widen:expr, |$value:ident| $narrow:expr
    ) => {
        type Bits = $bits;
        const MIN_NORMAL: $bits = $min_normal;
        const MAX_SUBNORMAL: $bits = $min_normal - 1;
        const INFINITY: $bits = $infinity;

        #[inline(always)]
        fn magnitude(self) -> $bits {
            self.to_bits() & (<$bits>::MAX >> 1)
        }
        #[inline(always)]
        fn value(self) -> f64 {
            f64::from(self)
        }
        #[inline(always)]
        fn narrow($value: f64) -> Self {
            $narrow
        }
        #[inline(always)]
        fn widen($magnitude: $bits) -> f64 {
            $widen
        }
    };
}

impl Element for f32 {
    type Lanes<S: Simd> = u32x8<S>;

    bits!(
        u32,
        0x0080_0000,
        0x7f80_0000,
        |magnitude| f64::from(f32::from_bits(magnitude)),
        |value| value as f32
    );

    #[inline(always)]
    fn read<S: Simd>(simd: S, chunk: &[Self; CHUNK], seen: &mut Seen<Self::Lanes<S>>) -> Wide<S> {
        let mut wide = [f64x4::splat(simd, 0.0); 4];
        for half in 0..2 {
            let values = f32x8::from_slice(simd, &chunk[8 * half..8 * half + 8]);
            seen.add(values.bitcast::<u32x8<S>>() & (u32::MAX >> 1));
            (wide[2 * half], wide[2 * half + 1]) = simd.widen_f32x8(values);
        }
        wide
    }
}

impl Element for f64 {
    type Lanes<S: Simd> = u64x4<S>;

    bits!(
        u64,
        0x0010_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        |magnitude| f64::from_bits(magnitude),
        |value| value
    );

    #[inline(always)]
    fn read<S: Simd>(simd: S, chunk: &[Self; CHUNK], seen: &mut Seen<Self::Lanes<S>>) -> Wide<S> {
        let mut wide = [f64x4::splat(simd, 0.0); 4];
        for (quarter, wide) in wide.iter_mut().enumerate() {
            *wide = f64x4::from_slice(simd, &chunk[4 * quarter..4 * quarter + 4]);
            seen.add(wide.bitcast::<u64x4<S>>() & (u64::MAX >> 1));
        }
        wide
    }

    /// Never fused: the square of an f64 is rounded, and every instruction set must round it alike.
    #[inline(always)]
    fn add_square<S: Simd>(wide: f64x4<S>, sum: f64x4<S>) -> f64x4<S> {
        wide * wide + sum
    }
}

/// The two 16-bit types. They differ in the distance of their bits from f32's (`$shift`), and in
/// the power of two between the values after shifting.
macro_rules! short_element {
    ($float:ty, $min_normal:expr, $infinity:expr, $shift:expr, $rescale:expr) => {
        impl Element for $float {
            type Lanes<S: Simd> = u16x16<S>;

            bits!(
                u16,
                $min_normal,
                $infinity,
                |magnitude| f64::from(f32::from_bits(u32::from(magnitude) << $shift) * $rescale),
                |value| <$float>::from_f64(value)
            );

            #[inline(always)]
            fn read<S: Simd>(
                simd: S,
                chunk: &[Self; CHUNK],
                seen: &mut Seen<Self::Lanes<S>>,
            ) -> Wide<S> {
                let bits: [u16; CHUNK] = chunk.map(Self::to_bits);
                let magnitude = u16x16::from_slice(simd, &bits) & (u16::MAX >> 1);
                let (low, high) = simd.widen_u16x16(magnitude);
                let [low, high] = [low, high].map(
                    #[inline(always)]
                    |half| simd.widen_f32x8((half << $shift).bitcast::<f32x8<S>>() * $rescale),
                );
                seen.add(magnitude);
                [low.0, low.1, high.0, high.1]
            }
        }
    };
}

short_element!(bf16, 0x0080, 0x7f80, 16, 1.0);
// 2^112, the difference of the two exponent biases. The product is exact, for subnormals as well.
short_element!(f16, 0x0400, 0x7c00, 13, f32::from_bits(0x7780_0000));

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    /// Every f16 and bf16, against the conversion of the `half` crate.
    #[test]
    fn all_short_floats_widen_exactly() {
        for bits in 0..=u16::MAX {
            let (short, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            if short.is_finite() {
                let wide = <f16 as Element>::widen(short.magnitude());
                assert_eq!(wide, f64::from(short).abs(), "f16 {bits:#x}");
            }
            if brain.is_finite() {
                let wide = <bf16 as Element>::widen(brain.magnitude());
                assert_eq!(wide, f64::from(brain).abs(), "bf16 {bits:#x}");
            }
        }
    }

    /// A value counts wherever it is in a chunk, and with any sign.
    #[test]
    fn every_value_of_a_chunk_counts() {
        fn check<E: Element>(one: E, above: E, sign: impl Fn(E) -> E)
        where
            E::Bits: std::fmt::Debug,
        {
            for at in 0..CHUNK {
                for (rest, other) in [(one, sign(above)), (sign(above), one)] {
                    let mut chunk = [rest; CHUNK];
                    chunk[at] = other;
                    chunk[(at + 1) % CHUNK] = E::narrow(-0.0);
                    let (largest, smallest, nonzero) = dispatch!(Level::new(), simd => {
                        let mut seen = Seen::new(simd);
                        E::read(simd, &chunk, &mut seen);
                        let nonzero = seen.nonzero.as_slice().iter();
                        let nonzero: u64 = nonzero.map(|&lane| lane.into()).sum();
                        (seen.largest.reduce_max(), seen.smallest.reduce_min(), nonzero)
                    });
                    assert_eq!(largest, above.magnitude(), "{at}");
                    assert_eq!(smallest.into() + 1, one.magnitude().into(), "{at}");
                    assert_eq!(nonzero, CHUNK as u64 - 1, "{at}");
                }
            }
        }
        check(1.0, 1.0f32.next_up(), |value| -value);
        check(1.0, 1.0f64.next_up(), |value| -value);
        check(f16::ONE, f16::ONE + f16::EPSILON, |value| -value);
        check(bf16::ONE, bf16::ONE + bf16::EPSILON, |value| -value);
    }

    #[test]
    fn the_borders_between_the_classes() {
        fn check<E: Element>(min_normal: E, infinity: E)
        where
            E::Bits: std::fmt::Debug,
        {
            assert_eq!(min_normal.magnitude(), E::MIN_NORMAL);
            assert_eq!(infinity.magnitude(), E::INFINITY);
        }
        check(f32::MIN_POSITIVE, f32::NEG_INFINITY);
        check(f64::MIN_POSITIVE, f64::NEG_INFINITY);
        check(f16::MIN_POSITIVE, f16::NEG_INFINITY);
        check(bf16::MIN_POSITIVE, bf16::NEG_INFINITY);
    }
}
