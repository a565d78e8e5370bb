use serde::{Deserialize, Serialize};

use super::{Evidence, History};
use crate::float;

/// Rows that a forecast is made from.
const ROWS: usize = 8;

/// Features beyond this say no more: e^20 is half a billion.
const MOST: f64 = 20.0;

/// The probability that a run diverges, from its first rows alone.
///
/// A logistic model of four dimensionless features: `1 / (1 + exp(-(bias + sum weight * feature)))`.
/// Its weights were fitted to the tuning part of the zoo, runs of 160 steps without a fault; how often it
/// is right on the held-out part is in `benches/runs`. Of a run that is much longer it says how it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Between 0 and 1.
    #[serde(with = "float")]
    pub probability: f64,
    /// The features, in logarithms.
    pub features: Vec<Evidence>,
}

/// Their names, in the order of [`WEIGHTS`].
const NAMES: [&str; 4] = [
    "ln largest loss over the first",
    "ln last loss over the first",
    "ln largest gradient norm over the first",
    "ln learning rate * norm^2 over the loss",
];

/// Fitted by `steadygrad-lab`'s example `forecast`, which prints them anew.
const BIAS: f64 = -2.8555;
const WEIGHTS: [f64; 4] = [0.8625, 0.4168, 0.6428, 0.2065];

impl Forecast {
    /// Steps of the runs that it was fitted to.
    pub const BUDGET: u64 = 160;

    /// From the first eight rows; `None` when there are fewer, or one has no positive first loss, gradient
    /// norm or learning rate.
    pub fn of(history: &History<'_>) -> Option<Self> {
        let features = features(history)?;
        Some(Self {
            probability: logistic(BIAS, &WEIGHTS, &features),
            features: NAMES
                .into_iter()
                .zip(features)
                .map(|(name, feature)| Evidence::new(name, feature))
                .collect(),
        })
    }
}

/// `1 / (1 + exp(-(bias + sum weight * feature)))`.
pub(crate) fn logistic(bias: f64, weights: &[f64], features: &[f64]) -> f64 {
    let weighted = features.iter().zip(weights);
    let sum: f64 = weighted.map(|(feature, weight)| feature * weight).sum();
    1.0 / (1.0 + (-(bias + sum)).exp())
}

/// A ratio as a feature: its logarithm. What is not finite has left every scale.
pub(crate) fn log_ratio(ratio: f64) -> f64 {
    let log = if ratio.is_nan() { MOST } else { ratio.ln() };
    log.clamp(-MOST, MOST)
}

fn features(history: &History<'_>) -> Option<[f64; 4]> {
    let rows = history.rows().get(..ROWS)?;
    let losses: Vec<f64> = rows.iter().filter_map(|row| row.loss).collect();
    let norms: Vec<f64> = rows.iter().filter_map(|row| row.grad_norm).collect();
    let (first_loss, first_norm) = (*losses.first()?, *norms.first()?);
    let rate = rows.iter().find_map(|row| row.learning_rate())?;
    if !(first_loss > 0.0 && first_norm > 0.0 && rate > 0.0) {
        return None;
    }
    let worst = |values: &[f64]| {
        let broken = values.iter().any(|value| !value.is_finite());
        let largest = values.iter().copied().fold(f64::MIN, f64::max);
        if broken { f64::INFINITY } else { largest }
    };
    Some([
        log_ratio(worst(&losses) / first_loss),
        log_ratio(losses.last()? / first_loss),
        log_ratio(worst(&norms) / first_norm),
        log_ratio(rate * first_norm * first_norm / first_loss),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::example::{Sketch, diverging, healthy};
    use super::*;
    use crate::trace::Trace;

    fn of(trace: &Trace) -> Option<f64> {
        Forecast::of(&History::of(trace)).map(|forecast| forecast.probability)
    }

    #[test]
    fn growth_from_the_start_is_likely_to_go_on() {
        let calm = of(&healthy()).unwrap();
        // What comes later is not seen.
        assert_eq!(of(&diverging().trace()), Some(calm));
        let growing = |rate: f64| {
            let grown = move |row: usize, value: f64| value * rate.powi(row as i32);
            of(&Sketch::healthy(50).loss(0, grown).norm(0, grown).trace()).unwrap()
        };
        assert!(
            calm < 0.1 && growing(1.1) > calm && growing(3.0) > 0.99,
            "{calm}"
        );
        let broken = of(&Sketch::healthy(50).loss(5, |_, _| f64::NAN).trace()).unwrap();
        assert!(broken > 0.99);
    }

    #[test]
    fn without_a_start_there_is_none() {
        assert_eq!(of(&Trace::default()), None);
        assert_eq!(of(&Sketch::healthy(7).trace()), None);
        assert_eq!(
            of(&Sketch::healthy(50).loss(0, |_, loss| -loss).trace()),
            None
        );
        assert_eq!(of(&Sketch::healthy(50).norm(0, |_, _| 0.0).trace()), None);
        assert_eq!(
            of(&Sketch::healthy(50).rate(0, |_, _| f64::NAN).trace()),
            None
        );
    }
}
