/// A number between `low` and `high` whose logarithm is drawn evenly, from one number in `0..1`.
pub(super) fn log_uniform(low: f64, high: f64, uniform: f64) -> f64 {
    low * (high / low).powf(uniform)
}

/// A whole number from 1 to `largest`, from one number in `0..1`.
pub(super) fn up_to(largest: usize, uniform: f64) -> usize {
    1 + (uniform * largest as f64) as usize
}
