/// Returns the median, the upper of two middle values; `None` without values. NaN counts as the
/// largest.
pub(in crate::diagnose) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    one_in(2, values)
}

/// Returns the value that a quarter of the values lie below.
pub(super) fn lower_quartile(values: impl Iterator<Item = f64>) -> Option<f64> {
    one_in(4, values)
}

/// Returns the value that one in `count` of the values lies below.
fn one_in(count: usize, values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / count).copied()
}
