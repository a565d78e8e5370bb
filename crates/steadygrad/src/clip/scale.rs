use half::slice::HalfFloatSliceExt;

use crate::stats::ValuesMut;

/// Multiplies all values by the coefficient.
///
/// f32 values are multiplied in f32, as frameworks do, unless the coefficient is too small to be
/// held there: then in f64, so that 1e38 can be brought down to 1e-6.
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

/// Changes 16-bit values by way of f32, a piece at a time.
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
