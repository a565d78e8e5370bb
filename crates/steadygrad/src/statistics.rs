//! Medians, and the deviation that follows from them.

/// Standard deviation of a normal distribution over its median absolute deviation,
/// `1 / Phi^-1(3/4)`.
pub(crate) const SIGMA_PER_MAD: f64 = 1.482_602_218_505_602;

/// Returns the median of the values, and reorders them.
///
/// Of two middle values it is the upper one, so it is always one of the values. `None` without
/// any. Values are ordered by [`f64::total_cmp`]: infinite values have their place at the ends, and
/// a positive NaN counts as the largest. Takes linear time.
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_rows() {
        for (mut values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0], Some(9.0)),
            (vec![9.0, 1.0, 4.0], Some(4.0)),
            (vec![f64::INFINITY, 1.0, f64::NEG_INFINITY], Some(1.0)),
            (vec![f64::NAN, 1.0, 2.0], Some(2.0)),
        ] {
            assert_eq!(median(&mut values), expected, "{values:?}");
        }
        assert!(median(&mut [f64::NAN, 1.0]).is_some_and(f64::is_nan));
    }
}
