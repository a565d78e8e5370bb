use fearless_simd::{Level, dispatch, f32x8, f64x4, prelude::*};

/// The number of values that are read at once. Four sums side by side hide the latency of an
/// addition.
const CHUNK: usize = 16;

/// Computes `sqrt(sum (after - before)^2)`: the length of an optimizer's step.
///
/// Differences are taken in f32, squared and summed in f64, in an order that no instruction set
/// changes. Values beyond the end of the shorter slice are left out. 0 when one slice is empty; NaN
/// or infinite when a difference is.
///
/// ```
/// assert_eq!(steadygrad::stats::distance(&[0.0, 0.0], &[3.0, -4.0]), 5.0);
/// ```
pub fn distance(before: &[f32], after: &[f32]) -> f64 {
    at_level(Level::new(), before, after)
}

fn at_level(level: Level, before: &[f32], after: &[f32]) -> f64 {
    let len = before.len().min(after.len());
    let (before, after) = (&before[..len], &after[..len]);
    dispatch!(level, simd => sum_of_squares(simd, before, after)).sqrt()
}

#[inline(always)]
fn sum_of_squares<S: Simd>(simd: S, before: &[f32], after: &[f32]) -> f64 {
    let mut sums = [f64x4::splat(simd, 0.0); CHUNK / 4];
    let (befores, rest_before) = before.as_chunks::<CHUNK>();
    let (afters, rest_after) = after.as_chunks::<CHUNK>();
    for (before, after) in befores.iter().zip(afters) {
        for half in 0..2 {
            let part = 8 * half..8 * half + 8;
            let change = f32x8::from_slice(simd, &after[part.clone()])
                - f32x8::from_slice(simd, &before[part]);
            let (low, high) = simd.widen_f32x8(change);
            sums[2 * half] = low * low + sums[2 * half];
            sums[2 * half + 1] = high * high + sums[2 * half + 1];
        }
    }
    let mut lanes = [0.0; 4];
    (sums[0] + sums[1] + (sums[2] + sums[3])).store_slice(&mut lanes);
    let rest = rest_before.iter().zip(rest_after);
    let rest = rest.map(|(before, after)| f64::from(after - before).powi(2));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn closed_forms_and_odd_rows() {
        assert_eq!(distance(&[0.0; 2], &[3.0, -4.0]), 5.0);
        assert_eq!(distance(&[1.0; 37], &[1.5; 37]), 0.5 * 37f64.sqrt());
        assert_eq!(distance(&[7.0; 100], &[7.0; 100]), 0.0);
        assert_eq!(distance(&[], &[]), 0.0);
        assert_eq!(distance(&[1.0; 20], &[]), 0.0);
        // The end of the longer slice is left out.
        assert_eq!(distance(&[0.0; 3], &[2.0]), 2.0);
    }

    #[test]
    fn a_value_that_is_not_finite_counts_wherever_it_is() {
        for place in [0, 7, 8, 15, 16, 36] {
            for (odd, expected) in [(f32::NAN, f64::NAN), (f32::NEG_INFINITY, f64::INFINITY)] {
                let mut after = [1.0; 37];
                after[place] = odd;
                assert_eq!(
                    distance(&[1.0; 37], &after).to_string(),
                    expected.to_string()
                );
            }
        }
        // The difference of two infinities is NaN.
        assert!(distance(&[f32::INFINITY], &[f32::INFINITY]).is_nan());
        // Squares beyond f32's range, but not f64's; then a difference beyond f32's range.
        assert!((distance(&[0.0; 16], &[1e30; 16]) / 4e30 - 1.0).abs() < 1e-6);
        assert_eq!(distance(&[f32::MIN], &[f32::MAX]), f64::INFINITY);
        // A subnormal difference.
        assert_eq!(distance(&[0.0], &[1e-45]), f64::from(1e-45f32));
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_plain_sum(
            pairs in prop::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..200),
        ) {
            let (before, after): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let plain: f64 = before.iter().zip(&after).map(|(a, b)| f64::from(b - a).powi(2)).sum();
            let found = distance(&before, &after);
            prop_assert!((found - plain.sqrt()).abs() <= 1e-13 * plain.sqrt());
            let baseline = at_level(Level::baseline(), &before, &after);
            prop_assert_eq!(found.to_bits(), baseline.to_bits());
            prop_assert_eq!(distance(&after, &before), found);
        }
    }
}
