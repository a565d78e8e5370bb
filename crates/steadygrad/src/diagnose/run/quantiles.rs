use crate::statistics;

/// Returns the median of an iterator's values: see [`statistics::median`].
pub(in crate::diagnose) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    statistics::median(&mut values.collect::<Vec<f64>>())
}

/// Returns the value that a quarter of the values lie below. `None` without values.
pub(super) fn lower_quartile(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 4).copied()
}
