//! Measures the errors of predictions.

/// Slopes below this have no useful relative error. At it the gradient changes by e in 100 layers.
const FLAT: f64 = 0.01;

/// The errors of one predictor on all networks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errors {
    /// `1 - sum (measured - predicted)^2 / sum (measured - mean)^2`, without any fit.
    pub(crate) r_squared: f64,
    /// The median of `|exp(predicted - measured) - 1|`: the error of the growth factor per layer.
    pub(crate) factor: f64,
    /// The median of `|predicted - measured| / |measured|` where `|measured|` exceeds 0.01.
    pub(crate) relative: f64,
}

impl Errors {
    /// Computes the errors of pairs `(predicted, measured)`.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Self {
        let mean = pairs.iter().map(|pair| pair.1).sum::<f64>() / pairs.len() as f64;
        let missed: f64 = pairs.iter().map(|(p, m)| (p - m).powi(2)).sum();
        let spread: f64 = pairs.iter().map(|(_, m)| (m - mean).powi(2)).sum();
        let steep = pairs.iter().filter(|(_, m)| m.abs() > FLAT);
        Self {
            r_squared: 1.0 - missed / spread,
            factor: median(pairs.iter().map(|(p, m)| ((p - m).exp() - 1.0).abs())),
            relative: median(steep.map(|(p, m)| ((p - m) / m).abs())),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => 0.5 * (values[middle - 1] + values[middle]),
    }
}
