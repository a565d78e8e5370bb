/// Fewest batches that an error is read from.
const FEWEST_BATCHES: usize = 8;

/// A mean over `weight` steps.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) weight: f64,
    pub(super) value: f64,
}

/// The mean over all steps of the batches.
pub(super) fn mean(batches: &[Batch]) -> f64 {
    let sum: f64 = batches.iter().map(|batch| batch.weight * batch.value).sum();
    sum / batches.iter().map(|batch| batch.weight).sum::<f64>()
}

/// The standard error of the mean, by blocking: neighbouring batches are joined in pairs for as
/// long as eight are left, and the largest error counts (Flyvbjerg and Petersen, 1989). A batch
/// counts by its weight. `None` for fewer than two batches.
pub(super) fn standard_error(mut batches: Vec<Batch>) -> Option<f64> {
    let mut largest: Option<f64> = None;
    while batches.len() >= 2 && (largest.is_none() || batches.len() >= FEWEST_BATCHES) {
        let n = batches.len() as f64;
        let middle = mean(&batches);
        let total: f64 = batches.iter().map(|batch| batch.weight).sum();
        let squares: f64 = batches
            .iter()
            .map(|batch| (batch.weight / total * (batch.value - middle)).powi(2))
            .sum();
        let error = (squares * n / (n - 1.0)).sqrt();
        largest = Some(largest.map_or(error, |largest| largest.max(error)));
        batches = batches
            .chunks_exact(2)
            .map(|pair| Batch {
                weight: pair[0].weight + pair[1].weight,
                value: mean(pair),
            })
            .collect();
    }
    largest
}
