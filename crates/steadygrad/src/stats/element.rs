use fearless_simd::{f32x8, f64x4, prelude::*, u16x16, u32x8, u64x4};
use half::{bf16, f16};

/// Values that are read together.
pub(crate) const CHUNK: usize = 16;

/// The absolute values of a chunk as f64, in their order.
pub(crate) type Wide<S> = [f64x4<S>; 4];

/// A floating-point type that gradients come in. Without the sign, its bits grow with the
/// magnitude, so integer comparisons tell zero, subnormal and non-finite values.
pub(crate) trait Element: Copy + Send + Sync {
    type Bits: Copy + Ord + Default;

    /// The largest key of each lane; see [`Element::key`].
    type Keys<S: Simd>: Copy;

    /// Magnitude bits of the smallest normal value.
    const MIN_NORMAL: Self::Bits;
    /// Magnitude bits of infinity; greater ones are NaN.
    const INFINITY: Self::Bits;

    /// The bits without the sign.
    fn magnitude(self) -> Self::Bits;
    /// The magnitude bits less those of the smallest normal value: zero and subnormal values wrap
    /// around to the top, so the largest key of many values tells whether any is out of the ordinary.
    fn key(magnitude: Self::Bits) -> Self::Bits;
    /// The way back from a key.
    fn magnitude_of_key(key: Self::Bits) -> Self::Bits;
    /// The absolute value as f64: exact for a finite value, anything for a non-finite one.
    fn widen(magnitude: Self::Bits) -> f64;

    /// The value as f64, exact.
    fn value(self) -> f64;
    /// The nearest value to an f64.
    fn narrow(value: f64) -> Self;

    /// The smallest keys there are.
    fn no_keys<S: Simd>(simd: S) -> Self::Keys<S>;
    /// Reads a chunk: its values, and the keys it raises.
    fn read<S: Simd>(
        simd: S,
        chunk: &[Self; CHUNK],
        keys: Self::Keys<S>,
    ) -> (Wide<S>, Self::Keys<S>);
    /// `sum + wide^2`, fused or not: with at most 24 bits a value, the square is exact in f64 and
    /// the result the same.
    #[inline(always)]
    fn add_square<S: Simd>(wide: f64x4<S>, sum: f64x4<S>) -> f64x4<S> {
        wide.mul_add(wide, sum)
    }
    /// The largest of the keys.
    fn largest<S: Simd>(keys: Self::Keys<S>) -> Self::Bits;
}

macro_rules! bits {
    ($bits:ty, $min_normal:expr, $infinity:expr, |$magnitude:ident| $widen:expr, |$value:ident| $narrow:expr) => {
        type Bits = $bits;
        const MIN_NORMAL: $bits = $min_normal;
        const INFINITY: $bits = $infinity;

        #[inline(always)]
        fn magnitude(self) -> $bits {
            self.to_bits() & (<$bits>::MAX >> 1)
        }
        #[inline(always)]
        fn key(magnitude: $bits) -> $bits {
            magnitude.wrapping_sub(Self::MIN_NORMAL)
        }
        #[inline(always)]
        fn magnitude_of_key(key: $bits) -> $bits {
            key.wrapping_add(Self::MIN_NORMAL)
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
    type Keys<S: Simd> = u32x8<S>;

    bits!(
        u32,
        0x0080_0000,
        0x7f80_0000,
        |magnitude| f64::from(f32::from_bits(magnitude)),
        |value| value as f32
    );

    #[inline(always)]
    fn no_keys<S: Simd>(simd: S) -> Self::Keys<S> {
        u32x8::splat(simd, 0)
    }

    #[inline(always)]
    fn read<S: Simd>(
        simd: S,
        chunk: &[Self; CHUNK],
        mut keys: Self::Keys<S>,
    ) -> (Wide<S>, Self::Keys<S>) {
        let mut wide = [f64x4::splat(simd, 0.0); 4];
        for half in 0..2 {
            let values = f32x8::from_slice(simd, &chunk[8 * half..8 * half + 8]);
            let magnitude = values.bitcast::<u32x8<S>>() & (u32::MAX >> 1);
            keys = keys.max(magnitude - Self::MIN_NORMAL);
            (wide[2 * half], wide[2 * half + 1]) = simd.widen_f32x8(values);
        }
        (wide, keys)
    }

    #[inline(always)]
    fn largest<S: Simd>(keys: Self::Keys<S>) -> u32 {
        keys.reduce_max()
    }
}

impl Element for f64 {
    type Keys<S: Simd> = u64x4<S>;

    bits!(
        u64,
        0x0010_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        |magnitude| f64::from_bits(magnitude),
        |value| value
    );

    #[inline(always)]
    fn no_keys<S: Simd>(simd: S) -> Self::Keys<S> {
        u64x4::splat(simd, 0)
    }

    #[inline(always)]
    fn read<S: Simd>(
        simd: S,
        chunk: &[Self; CHUNK],
        mut keys: Self::Keys<S>,
    ) -> (Wide<S>, Self::Keys<S>) {
        let mut wide = [f64x4::splat(simd, 0.0); 4];
        for (quarter, wide) in wide.iter_mut().enumerate() {
            *wide = f64x4::from_slice(simd, &chunk[4 * quarter..4 * quarter + 4]);
            let magnitude = wide.bitcast::<u64x4<S>>() & (u64::MAX >> 1);
            keys = keys.max(magnitude - Self::MIN_NORMAL);
        }
        (wide, keys)
    }

    /// Never fused: an f64's square is rounded, and every instruction set must round alike.
    #[inline(always)]
    fn add_square<S: Simd>(wide: f64x4<S>, sum: f64x4<S>) -> f64x4<S> {
        wide * wide + sum
    }

    #[inline(always)]
    fn largest<S: Simd>(keys: Self::Keys<S>) -> u64 {
        keys.reduce_max()
    }
}

/// The two 16-bit types, which differ in how far their bits lie from f32's (`$shift`) and in the
/// power of two between the two after shifting.
macro_rules! short_element {
    ($float:ty, $min_normal:expr, $infinity:expr, $shift:expr, $rescale:expr) => {
        impl Element for $float {
            type Keys<S: Simd> = u16x16<S>;

            bits!(
                u16,
                $min_normal,
                $infinity,
                |magnitude| f64::from(f32::from_bits(u32::from(magnitude) << $shift) * $rescale),
                |value| <$float>::from_f64(value)
            );

            #[inline(always)]
            fn no_keys<S: Simd>(simd: S) -> Self::Keys<S> {
                u16x16::splat(simd, 0)
            }

            #[inline(always)]
            fn read<S: Simd>(
                simd: S,
                chunk: &[Self; CHUNK],
                keys: Self::Keys<S>,
            ) -> (Wide<S>, Self::Keys<S>) {
                let bits: [u16; CHUNK] = chunk.map(Self::to_bits);
                let magnitude = u16x16::from_slice(simd, &bits) & (u16::MAX >> 1);
                let (low, high) = simd.widen_u16x16(magnitude);
                let [low, high] = [low, high].map(
                    #[inline(always)]
                    |half| simd.widen_f32x8((half << $shift).bitcast::<f32x8<S>>() * $rescale),
                );
                let keys = keys.max(magnitude - Self::MIN_NORMAL);
                ([low.0, low.1, high.0, high.1], keys)
            }

            #[inline(always)]
            fn largest<S: Simd>(keys: Self::Keys<S>) -> u16 {
                keys.reduce_max()
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

    /// Every f16 and bf16 there is, against the `half` crate's own conversion.
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

    /// The largest key of a chunk is that of its largest value, wherever it lies and whatever the
    /// signs: anything above sends the block to be read again, anything else loses a bit.
    #[test]
    fn a_chunk_raises_the_largest_key_among_its_values() {
        fn check<E: Element>(one: E, above: E, sign: impl Fn(E) -> E)
        where
            E::Bits: std::fmt::Debug,
        {
            for at in 0..CHUNK {
                for (rest, largest) in [(one, sign(above)), (sign(one), above)] {
                    let mut chunk = [rest; CHUNK];
                    chunk[at] = largest;
                    let key = dispatch!(Level::new(), simd => {
                        E::largest(E::read(simd, &chunk, E::no_keys(simd)).1)
                    });
                    assert_eq!(key, E::key(above.magnitude()), "{at}");
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
