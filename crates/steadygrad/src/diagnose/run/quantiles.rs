use crate::statistics::{self, SIGMA_PER_MAD};

/// Returns the median of an iterator's values: see [`statistics::median`].
pub(in crate::diagnose) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    statistics::median(&mut values.collect::<Vec<f64>>())
}

/// Returns the median distance from the median, scaled to the standard deviation of normal values.
pub(in crate::diagnose) fn deviation(values: &[f64]) -> Option<f64> {
    let middle = median(values.iter().copied())?;
    Some(SIGMA_PER_MAD * median(values.iter().map(|value| (value - middle).abs()))?)
}

/// Returns the value that a quarter of the values lie below. `None` without values.
pub(super) fn lower_quartile(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 4).copied()
}
