use half::slice::HalfFloatSliceExt;

use crate::stats::ValuesMut;

/// Multiplies all values by the coefficient.
///
/// f32 values are multiplied in f32, as frameworks do. A coefficient that is too small for f32
/// multiplies in f64, so that it can bring 1e38 down to 1e-6.
pub(crate) fn scale(values: ValuesMut<'_>, coefficient: f64) {
    let short = coefficient as f32;
    match values {
        ValuesMut::F32(slice) if short.is_normal() => {
            slice.iter_mut().for_each(|value| *value *= short);
        }
        ValuesMut::F32(slice) => slice
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) * coefficient) as f32),
        ValuesMut::F64(slice) => slice.iter_mut().for_each(|value| *value *= coefficient),
        ValuesMut::F16(slice) => through_f32(slice, |value| value * short),
        ValuesMut::Bf16(slice) => through_f32(slice, |value| value * short),
    }
}

/// Changes 16-bit values through f32, a piece at a time.
pub(crate) fn through_f32<T>(slice: &mut [T], change: impl Fn(f32) -> f32)
where
    [T]: HalfFloatSliceExt,
{
    let mut wide = [0.0f32; 1024];
    for piece in slice.chunks_mut(wide.len()) {
        let wide = &mut wide[..piece.len()];
        piece.convert_to_f32_slice(wide);
        wide.iter_mut().for_each(|value| *value = change(*value));
        piece.convert_from_f32_slice(wide);
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn scaling_multiplies_in_the_values_own_type() {
        let mut single = [3.0f32, f32::NAN, f32::INFINITY, -0.0];
        scale((&mut single[..]).into(), 0.1);
        assert_eq!(single[0], 3.0 * 0.1f32);
        assert!(single[1].is_nan() && single[2] == f32::INFINITY && single[3] == 0.0);
        // In f32 and not in f64, which rounds some of these differently.
        let mut many: Vec<f32> = (1..1000u16).map(f32::from).collect();
        let expected: Vec<f32> = many.iter().map(|value| value * 0.1f32).collect();
        scale((&mut many[..]).into(), 0.1);
        assert_eq!(many, expected);
        let mut double = [3.0f64];
        scale((&mut double[..]).into(), 0.1);
        assert_eq!(double[0], 3.0 * 0.1);
        let mut short = vec![f16::from_f32(1000.0); 1500];
        scale((&mut short[..]).into(), 0.1);
        assert!(
            short
                .iter()
                .all(|value| *value == f16::from_f32(1000.0 * 0.1))
        );
        let mut brain = [bf16::from_f32(1e30)];
        scale((&mut brain[..]).into(), 0.5);
        assert_eq!(
            brain[0],
            bf16::from_f32(bf16::from_f32(1e30).to_f32() * 0.5)
        );
    }

    /// A coefficient of 1e-44 has one bit left in f32, 1e-46 none.
    #[test]
    fn a_coefficient_too_small_for_f32_still_counts() {
        for coefficient in [1e-39, 1e-44, 1e-46] {
            let mut values = [1e38f32];
            scale((&mut values[..]).into(), coefficient);
            let exact = f64::from(1e38f32) * coefficient;
            assert!(
                (f64::from(values[0]) / exact - 1.0).abs() < 1e-7,
                "{coefficient}"
            );
        }
    }
}
