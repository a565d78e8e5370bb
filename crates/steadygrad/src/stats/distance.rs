use fearless_simd::{Level, dispatch, f32x8, f64x4, prelude::*};

/// Values that are read at once: four sums side by side hide the latency of an addition.
const CHUNK: usize = 16;

/// `sqrt(sum (after - before)^2)`: how far an optimizer's step went. Subtracted in f32, squared and
/// summed in f64, in an order that no instruction set changes. What the longer one has more is left
/// out; 0 when one is empty; NaN or infinite when a difference is.
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
        // Of the longer one, what the other has.
        assert_eq!(distance(&[0.0; 3], &[2.0]), 2.0);
    }

    #[test]
    fn what_is_not_finite_stays_so_wherever_it_is() {
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
        // The difference of two infinities is none.
        assert!(distance(&[f32::INFINITY], &[f32::INFINITY]).is_nan());
        // Beyond f32's range when squared, not beyond f64's; beyond f32's as a difference.
        assert!((distance(&[0.0; 16], &[1e30; 16]) / 4e30 - 1.0).abs() < 1e-6);
        assert_eq!(distance(&[f32::MIN], &[f32::MAX]), f64::INFINITY);
        // Below it.
        assert_eq!(distance(&[0.0], &[1e-45]), f64::from(1e-45f32));
    }

    proptest! {
        #[test]
        fn it_is_the_plain_sum_whatever_the_instructions(
            pairs in prop::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..200),
        ) {
            let (before, after): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let plain: f64 = before.iter().zip(&after).map(|(a, b)| f64::from(b - a).powi(2)).sum();
            let found = distance(&before, &after);
            prop_assert!((found - plain.sqrt()).abs() <= 1e-13 * plain.sqrt());
            prop_assert_eq!(found.to_bits(), at_level(Level::baseline(), &before, &after).to_bits());
            prop_assert_eq!(distance(&after, &before), found);
        }
    }
}
