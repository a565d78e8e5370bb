use serde::{Deserialize, Serialize};

use crate::float;

/// What one pass over one tensor's gradient tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorStats {
    /// L2 norm. NaN if any value is NaN, else infinite if any is infinite; 0 when empty.
    #[serde(with = "float")]
    pub tensor_norm: f64,
    /// Largest absolute *finite* value; 0 when there is none.
    pub max_abs: f32,
    /// Number of values.
    pub len: u64,
    /// Values that are NaN or infinite.
    pub non_finite: u64,
    /// Values that are subnormal (not zero, but below the smallest normal f32, 1.18e-38).
    pub subnormal: u64,
}

impl TensorStats {
    /// Reads a tensor's values once.
    ///
    /// Squares are summed in f64: the square of the largest f32 is 1.2e77 and of the smallest
    /// subnormal 2e-90, so with f32 input the sum neither overflows nor underflows.
    pub fn of(values: &[f32]) -> Self {
        let mut sum_of_squares = 0.0f64;
        let mut max_abs = 0.0f32;
        let (mut non_finite, mut subnormal) = (0u64, 0u64);
        for &value in values {
            let wide = f64::from(value);
            sum_of_squares += wide * wide;
            let finite = value.is_finite();
            non_finite += u64::from(!finite);
            subnormal += u64::from(value.is_subnormal());
            max_abs = max_abs.max(if finite { value.abs() } else { 0.0 });
        }
        Self {
            tensor_norm: sum_of_squares.sqrt(),
            max_abs,
            len: values.len() as u64,
            non_finite,
            subnormal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table_of_odd_rows() {
        let nan = TensorStats::of(&[1.0, f32::NAN, f32::INFINITY]);
        assert!(nan.tensor_norm.is_nan());
        assert_eq!((nan.max_abs, nan.non_finite, nan.len), (1.0, 2, 3));

        let infinite = TensorStats::of(&[1.0, f32::NEG_INFINITY]);
        assert_eq!(infinite.tensor_norm, f64::INFINITY);

        assert_eq!(TensorStats::of(&[]), TensorStats::default());
        assert_eq!(TensorStats::of(&[0.0, -0.0]).tensor_norm, 0.0);

        let tiny = TensorStats::of(&[1e-40, 0.0]);
        assert_eq!(tiny.subnormal, 1);
        assert!((tiny.tensor_norm / f64::from(1e-40f32) - 1.0).abs() < 1e-12);

        let huge = TensorStats::of(&[f32::MAX; 4]);
        assert!((huge.tensor_norm / (2.0 * f64::from(f32::MAX)) - 1.0).abs() < 1e-12);
    }

    proptest! {
        /// Scaling by a power of two scales the norm exactly.
        #[test]
        fn scale_equivariance(values in prop::collection::vec(-1e3f32..1e3, 0..200), power in -20i32..20) {
            let factor = 2f32.powi(power);
            let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
            let (a, b) = (TensorStats::of(&values), TensorStats::of(&scaled));
            // Values that fall below the normal range lose bits; such rows prove nothing.
            prop_assume!(b.subnormal == 0);
            prop_assert!((a.tensor_norm * f64::from(factor) - b.tensor_norm).abs() <= 1e-12 * b.tensor_norm);
            prop_assert_eq!(a.max_abs * factor, b.max_abs);
        }
    }
}
