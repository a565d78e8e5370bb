use crate::Evidence;

/// Features are clamped to this size: e^20 is half a billion.
const MOST: f64 = 20.0;

/// A logistic model of named features: `1 / (1 + exp(-(bias + sum weight * feature)))`.
pub(crate) struct Logistic<const N: usize> {
    pub(crate) names: [&'static str; N],
    pub(crate) bias: f64,
    pub(crate) weights: [f64; N],
}

impl<const N: usize> Logistic<N> {
    /// Returns a probability, between 0 and 1.
    pub(crate) fn probability(&self, features: &[f64; N]) -> f64 {
        let weighted = features.iter().zip(&self.weights);
        let sum: f64 = weighted.map(|(feature, weight)| feature * weight).sum();
        1.0 / (1.0 + (-(self.bias + sum)).exp())
    }

    /// Returns the features with their names.
    pub(crate) fn named(&self, features: [f64; N]) -> Vec<Evidence> {
        let named = self.names.into_iter().zip(features);
        named
            .map(|(name, value)| Evidence::new(name, value))
            .collect()
    }
}

/// A ratio as a feature: its logarithm, clamped. NaN counts as the largest ratio.
pub(crate) fn log_ratio(ratio: f64) -> f64 {
    let log = if ratio.is_nan() { MOST } else { ratio.ln() };
    log.clamp(-MOST, MOST)
}
