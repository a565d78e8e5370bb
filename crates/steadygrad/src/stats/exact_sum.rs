/// A sum of finite f64 values that is rounded once, at the end. Neither the order of the values nor
/// their grouping changes a bit of it.
///
/// The exact sum is held as a few f64 values whose digits do not overlap, after J. R. Shewchuk,
/// "Adaptive precision floating-point arithmetic", 1997, section 2.4. The caller keeps the sum
/// below the largest f64.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ExactSum {
    /// From the smallest to the largest, none zero.
    parts: Vec<f64>,
}

impl ExactSum {
    pub(crate) fn add(&mut self, value: f64) {
        let mut carried = value;
        let mut kept = 0;
        for index in 0..self.parts.len() {
            let part = self.parts[index];
            let sum = carried + part;
            let error = rounding_error(carried, part, sum);
            if error != 0.0 {
                self.parts[kept] = error;
                kept += 1;
            }
            carried = sum;
        }
        self.parts.truncate(kept);
        if carried != 0.0 {
            self.parts.push(carried);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.parts.iter().for_each(|&part| self.add(part));
    }

    /// Starts again from zero and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
    }

    /// The sum, rounded to nearest with ties to even; 0 without a value.
    pub(crate) fn value(&self) -> f64 {
        let mut parts = self.parts.iter().rev().copied();
        let mut sum = parts.next().unwrap_or(0.0);
        while let Some(part) = parts.next() {
            let next = sum + part;
            let error = rounding_error(sum, part, next);
            sum = next;
            if error != 0.0 {
                // A tie was rounded to even, but the next part says on which side the sum lies.
                let beyond = parts.next().unwrap_or(0.0);
                let nudged = sum + 2.0 * error;
                if error.signum() * beyond > 0.0 && nudged - sum == 2.0 * error {
                    sum = nudged;
                }
                break;
            }
        }
        sum
    }
}

/// The exact value of `a + b - sum`, where `sum` is `a + b` rounded (Knuth's two-sum, which needs
/// no branch and no order).
fn rounding_error(a: f64, b: f64, sum: f64) -> f64 {
    let b_part = sum - a;
    (a - (sum - b_part)) + (b - b_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&value| sum.add(value));
        sum.value()
    }

    #[test]
    fn sums_that_plain_addition_gets_wrong() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.0, 0.0]), 0.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        // A tie at the last bit of 1 + 2^-53, decided by a value far below it.
        let half_ulp = 2f64.powi(-53);
        assert_eq!(sum(&[1.0, half_ulp]), 1.0);
        assert_eq!(sum(&[1.0, half_ulp, 1e-30]), 1.0 + 2.0 * half_ulp);
        assert_eq!(sum(&[1.0, half_ulp, -1e-30]), 1.0);
        let odd = 1.0 + 2.0 * half_ulp;
        assert_eq!(sum(&[odd, half_ulp]), 1.0 + 4.0 * half_ulp);
        assert_eq!(sum(&[odd, half_ulp, -1e-30]), odd);
        // A tie also counts where the product of the deciding values would be zero in f64.
        for scale in [2f64.powi(-800), 2f64.powi(900)] {
            let tie = [scale, scale * half_ulp, scale * 2f64.powi(-120)];
            assert_eq!(sum(&tie), scale * odd, "{scale:e}");
        }
    }

    proptest! {
        /// Against whole numbers: every value scaled by 2^40 is one, and i128 adds them exactly.
        #[test]
        fn equals_integer_arithmetic(
            values in prop::collection::vec(-(1i64 << 60)..1 << 60, 0..200),
        ) {
            let scale = 2f64.powi(-40);
            let scaled: Vec<f64> = values.iter().map(|&value| value as f64 * scale).collect();
            let exact: i128 = values.iter().map(|&value| value as f64 as i128).sum();
            prop_assert_eq!(sum(&scaled), exact as f64 * scale);
        }

        #[test]
        fn neither_order_nor_grouping_matters(
            exponents in prop::collection::vec((-300.0f64..300.0, -1.0f64..1.0), 1..100),
            cut in 0usize..100,
        ) {
            let value = |&(e, sign): &(f64, f64)| sign * 10f64.powf(e);
            let values: Vec<f64> = exponents.iter().map(value).collect();
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = ExactSum::default();
            right.iter().rev().for_each(|&value| merged.add(value));
            let mut first = ExactSum::default();
            left.iter().for_each(|&value| first.add(value));
            merged.merge(&first);
            prop_assert_eq!(merged.value(), sum(&values));
        }
    }
}
