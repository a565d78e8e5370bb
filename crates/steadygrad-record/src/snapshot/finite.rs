//! Counting NaN and infinite values in a tensor's bytes.

use super::dtype::Dtype;

/// The number of NaN and infinite values. 0 for a type without such values.
pub(super) fn non_finite(dtype: Dtype, bytes: &[u8]) -> u64 {
    // A value is finite unless all bits of its exponent are set.
    match dtype {
        Dtype::F16 => count(bytes, |value| u16::from_le_bytes(value) & 0x7c00 == 0x7c00),
        Dtype::Bf16 => count(bytes, |value| u16::from_le_bytes(value) & 0x7f80 == 0x7f80),
        Dtype::F32 => count(bytes, |value| {
            u32::from_le_bytes(value) & 0x7f80_0000 == 0x7f80_0000
        }),
        Dtype::F64 => count(bytes, |value| {
            u64::from_le_bytes(value) & 0x7ff0_0000_0000_0000 == 0x7ff0_0000_0000_0000
        }),
        _ => 0,
    }
}

fn count<const SIZE: usize>(bytes: &[u8], is_broken: impl Fn([u8; SIZE]) -> bool) -> u64 {
    let (values, _) = bytes.as_chunks::<SIZE>();
    values
        .iter()
        .map(|value| u64::from(is_broken(*value)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn counts_what_is_not_finite_in_every_type() {
        let values = [
            0.0,
            -0.0,
            1.0,
            f64::MAX,
            -5e-324,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(non_finite(Dtype::F64, &bytes), 4);
        // The largest f64 is infinite in the narrower types.
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| (*v as f32).to_le_bytes())
            .collect();
        assert_eq!(non_finite(Dtype::F32, &bytes), 5);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| f16::from_f64(*v).to_le_bytes())
            .collect();
        assert_eq!(non_finite(Dtype::F16, &bytes), 5);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| bf16::from_f64(*v).to_le_bytes())
            .collect();
        assert_eq!(non_finite(Dtype::Bf16, &bytes), 5);
        assert_eq!(non_finite(Dtype::U32, &[0xff; 8]), 0);
        assert_eq!(non_finite(Dtype::F64, &[]), 0);
    }

    #[test]
    fn every_half_is_judged_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let broken = |finite: bool| u64::from(!finite);
            let bytes = bits.to_le_bytes();
            assert_eq!(
                non_finite(Dtype::F16, &bytes),
                broken(f16::from_bits(bits).is_finite())
            );
            assert_eq!(
                non_finite(Dtype::Bf16, &bytes),
                broken(bf16::from_bits(bits).is_finite())
            );
        }
    }
}
