use serde::{Deserialize, Serialize};

use crate::float;
use crate::outcome::{Outcome, Verdict};

/// The outcome of a trial on one fresh seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedOutcome {
    /// Seed of weights and data order.
    pub seed: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// One trial run again on fresh seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The trial's name.
    pub trial: String,
    /// One outcome per seed.
    pub seeds: Vec<SeedOutcome>,
    /// Number of seeds that reached the goal.
    pub solved: usize,
    /// Smallest validation metric. NaN if the metric of any run is NaN.
    #[serde(with = "float")]
    pub worst: f64,
    /// Mean validation metric. NaN if the metric of any run is NaN.
    #[serde(with = "float")]
    pub mean: f64,
    /// Sample standard deviation of the metric; NaN with fewer than two runs.
    #[serde(with = "float")]
    pub standard_deviation: f64,
}

impl Verification {
    /// Summarises a trial's runs.
    pub fn new(trial: String, seeds: Vec<SeedOutcome>) -> Self {
        let metrics: Vec<f64> = seeds
            .iter()
            .map(|run| run.outcome.validation_metric)
            .collect();
        let count = metrics.len() as f64;
        let mean = metrics.iter().sum::<f64>() / count;
        let variance = metrics
            .iter()
            .map(|metric| (metric - mean).powi(2))
            .sum::<f64>()
            / (count - 1.0);
        Self {
            trial,
            solved: seeds
                .iter()
                .filter(|run| run.outcome.verdict == Verdict::Cured)
                .count(),
            worst: metrics
                .iter()
                .copied()
                .reduce(|a, b| if b.is_nan() || b < a { b } else { a })
                .unwrap_or(f64::NAN),
            mean,
            standard_deviation: if seeds.len() < 2 {
                f64::NAN
            } else {
                variance.sqrt()
            },
            seeds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::healthy_outcome;
    use super::*;

    fn verified(metrics: &[f64]) -> Verification {
        let seeds = metrics
            .iter()
            .enumerate()
            .map(|(seed, metric)| {
                let mut outcome = healthy_outcome();
                outcome.validation_metric = *metric;
                SeedOutcome {
                    seed: seed as u64,
                    outcome,
                }
            })
            .collect();
        Verification::new("x".into(), seeds)
    }

    #[test]
    fn the_spread_of_fresh_seeds() {
        let spread = verified(&[0.9, 1.0, 0.95]);
        assert!((spread.mean - 0.95).abs() < 1e-12);
        assert_eq!(spread.worst, 0.9);
        assert!((spread.standard_deviation - 0.05).abs() < 1e-12);
    }

    #[test]
    fn a_lost_model_is_not_averaged_away() {
        for metrics in [[0.9, f64::NAN], [f64::NAN, 0.9]] {
            let spread = verified(&metrics);
            assert!(spread.worst.is_nan() && spread.mean.is_nan());
        }
        assert!(verified(&[]).worst.is_nan());
        assert!(verified(&[0.9]).standard_deviation.is_nan());
    }
}
