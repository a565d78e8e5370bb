use serde::{Deserialize, Serialize};

use crate::float;

/// The statistics of one tensor's gradient, from one pass over it.
///
/// ```
/// use steadygrad::TensorStats;
///
/// let stats = TensorStats::of(&[3.0f32, -4.0, 0.0, f32::INFINITY]);
/// assert_eq!((stats.max_abs, stats.non_finite, stats.zero), (4.0, 1, 1));
/// assert_eq!(stats.tensor_norm, f64::INFINITY);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorStats {
    /// The L2 norm `sqrt(sum g^2)`. NaN if any value is NaN, else infinite if any is infinite; 0
    /// when empty. It neither overflows nor underflows while the norm itself is in f64's range.
    #[serde(with = "float")]
    pub tensor_norm: f64,
    /// The largest absolute *finite* value; 0 when there is none.
    pub max_abs: f64,
    /// The number of values.
    pub len: u64,
    /// The number of values that are NaN or infinite.
    pub non_finite: u64,
    /// The number of values that are subnormal in the gradient's own type: not zero, but below its
    /// smallest normal value (f32 1.18e-38, f64 2.2e-308, f16 6.10e-5, bf16 1.18e-38).
    pub subnormal: u64,
    /// The number of zeros, of either sign.
    pub zero: u64,
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Shard;

    fn of(values: &[f32]) -> TensorStats {
        TensorStats::of(values)
    }

    #[test]
    fn table_of_odd_rows() {
        let nan = of(&[1.0, f32::NAN, f32::INFINITY, 0.0]);
        assert!(nan.tensor_norm.is_nan());
        assert_eq!(
            (nan.max_abs, nan.non_finite, nan.len, nan.zero),
            (1.0, 2, 4, 1)
        );

        let infinite = of(&[1.0, f32::NEG_INFINITY]);
        assert_eq!(infinite.tensor_norm, f64::INFINITY);
        assert_eq!((infinite.max_abs, infinite.non_finite), (1.0, 1));

        assert_eq!(of(&[]), TensorStats::default());
        let zeros = of(&[0.0, -0.0]);
        assert_eq!(
            (zeros.tensor_norm, zeros.zero, zeros.subnormal),
            (0.0, 2, 0)
        );

        let tiny = of(&[1e-40, 0.0, f32::MIN_POSITIVE]);
        assert_eq!((tiny.subnormal, tiny.zero), (1, 1));

        let huge = of(&[f32::MAX; 4]);
        assert_eq!(huge.tensor_norm, 2.0 * f64::from(f32::MAX));
        assert_eq!(huge.max_abs, f64::from(f32::MAX));
        assert_eq!(of(&[f32::NAN; 3]).max_abs, 0.0);
        // One unusual value in the last, short chunk.
        let mut late = vec![1.0; 67];
        late[66] = f32::NAN;
        assert_eq!(of(&late).non_finite, 1);
        late[66] = -3.0;
        assert_eq!(of(&late).max_abs, 3.0);
        late[66] = 1e-44;
        assert_eq!(of(&late).subnormal, 1);
    }

    /// Every type over its whole range, against the closed form `|s| sqrt(n)`.
    #[test]
    fn every_scale() {
        for n in [1usize, 31, 32, 33, 8191, 8192, 8193, 100_000] {
            let root = (n as f64).sqrt();
            for scale in [1e-40f32, 1e-30, 1.0, 1e30, 1e38] {
                let stats = of(&vec![-scale; n]);
                let exact = f64::from(scale) * root;
                assert!(
                    (stats.tensor_norm / exact - 1.0).abs() < 1e-13,
                    "{n} x {scale}"
                );
                assert_eq!(stats.max_abs, f64::from(scale));
                assert_eq!(stats.subnormal, if scale < 1e-38 { n as u64 } else { 0 });
            }
            for scale in [
                5e-324, 1e-310, 1e-200, 1e-121, 1e-120, 1.0, 1e144, 1e145, 1e300,
            ] {
                let values = vec![scale; n];
                let stats = TensorStats::of(&values);
                assert!(
                    (stats.tensor_norm / (scale * root) - 1.0).abs() < 1e-13,
                    "{n} x {scale}"
                );
            }
            for scale in [65_504.0, 6e-8, 6.11e-5] {
                let values = vec![f16::from_f64(scale); n];
                let stats = TensorStats::of(&values);
                let exact = f64::from(values[0]) * root;
                assert!(
                    (stats.tensor_norm / exact - 1.0).abs() < 1e-13,
                    "{n} x {scale}"
                );
                let subnormal = if scale < 6.11e-5 { n as u64 } else { 0 };
                assert_eq!(
                    (stats.subnormal, stats.non_finite),
                    (subnormal, 0),
                    "{scale}"
                );
            }
            let values = vec![bf16::from_f64(3e38); n];
            let exact = f64::from(values[0]) * root;
            let norm = TensorStats::of(&values).tensor_norm;
            assert!((norm / exact - 1.0).abs() < 1e-13);
        }
        let infinite = TensorStats::of(&[f16::INFINITY, f16::ONE]);
        assert_eq!(
            (infinite.tensor_norm, infinite.non_finite),
            (f64::INFINITY, 1)
        );
        assert!(TensorStats::of(&[bf16::NAN]).tensor_norm.is_nan());
        // The norm itself is beyond f64.
        assert_eq!(TensorStats::of(&[f64::MAX; 2]).tensor_norm, f64::INFINITY);
    }

    /// Blocks of different scale in one tensor: the largest decides, and values of one magnitude on
    /// both sides of a border all count.
    #[test]
    fn mixed_scales() {
        let with = |first: f64, second: f64| {
            let mut values = vec![first; Shard::BLOCK];
            values.extend(vec![second; Shard::BLOCK]);
            TensorStats::of(&values).tensor_norm / (Shard::BLOCK as f64).sqrt()
        };
        assert!((with(1e300, 1e-300) / 1e300 - 1.0).abs() < 1e-13);
        assert_eq!(with(1e-300, 1.0), 1.0);
        let border = 2f64.powi(480);
        assert!((with(border * 1.5, border * 2.0) / (border * 2.5) - 1.0).abs() < 1e-13);
        assert!((with(border * 0.75, border) / (border * 1.25) - 1.0).abs() < 1e-13);
        assert!(
            (with(border * 0.75, border * 1.5) / (border * 2.8125f64.sqrt()) - 1.0).abs() < 1e-13
        );
        let low = 2f64.powi(-400);
        assert!((with(low * 0.75, low) / (low * 1.25) - 1.0).abs() < 1e-13);
        assert!((with(low * 0.375, low * 0.5) / (low * 0.625) - 1.0).abs() < 1e-13);
    }

    fn any_float() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -3.0f32..3.0,
            4 => any::<u32>().prop_map(f32::from_bits),
            1 => Just(0.0),
            1 => -1e-38f32..1e-38,
        ]
    }

    proptest! {
        /// Against the simplest code for the same numbers.
        #[test]
        fn equals_brute_force(values in prop::collection::vec(any_float(), 0..18_000)) {
            let stats = of(&values);
            let count = |test: fn(&f32) -> bool| {
                values.iter().filter(|value| test(value)).count() as u64
            };
            prop_assert_eq!(stats.len, values.len() as u64);
            prop_assert_eq!(stats.non_finite, count(|value| !value.is_finite()));
            prop_assert_eq!(stats.subnormal, count(|value| value.is_subnormal()));
            prop_assert_eq!(stats.zero, count(|value| *value == 0.0));
            let finite = values.iter().filter(|value| value.is_finite());
            let max = finite.fold(0.0f32, |max, value| max.max(value.abs()));
            prop_assert_eq!(stats.max_abs, f64::from(max));
            let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            if values.iter().any(|value| value.is_nan()) {
                prop_assert!(stats.tensor_norm.is_nan());
            } else if norm.is_finite() {
                prop_assert!((stats.tensor_norm - norm).abs() <= 1e-12 * norm);
            } else {
                prop_assert_eq!(stats.tensor_norm, norm);
            }
        }

        /// Scaling by a power of two scales the norm exactly.
        #[test]
        fn scale_equivariance(
            values in prop::collection::vec(-1e3f32..1e3, 0..200),
            power in -20i32..20,
        ) {
            let factor = 2f32.powi(power);
            let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
            let (a, b) = (of(&values), of(&scaled));
            // Values below the normal range lose bits, so such rows prove nothing.
            prop_assume!(b.subnormal == 0);
            prop_assert_eq!(a.tensor_norm * f64::from(factor), b.tensor_norm);
            prop_assert_eq!(a.max_abs * f64::from(factor), b.max_abs);
        }
    }
}
