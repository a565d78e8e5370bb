use serde::{Deserialize, Serialize};

use crate::diagnose::{DivergenceForecast, Logistic, log_ratio};
use crate::measurements::{Measurements, TrainingSetup, UpdateRule};
use crate::{Evidence, float};

/// The probability that a run diverges, from what was measured before its first step.
///
/// A logistic model of two dimensionless features, `1 / (1 + exp(-(bias + sum weight * feature)))`.
/// The first feature is the size of the first update over that of the weights. The second depends
/// on the update rule. For SGD it is the sharpness over the largest stable one
/// ([`TrainingSetup::stable_sharpness`]). For Adam it is the decrease that the first update would
/// bring to a linear loss, over the loss.
///
/// The weights were fitted to the tuning part of the zoo: runs of 160 steps with a constant
/// learning rate and without a fault. `benches/runs` has the hit rate on the held-out part. For a
/// run that is much longer, or warms up, the probability describes its beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// The probability, between 0 and 1.
    #[serde(with = "float")]
    pub probability: f64,
    /// The logarithms of the features.
    pub features: Vec<Evidence>,
}

const FIRST_UPDATE: &str = "ln first update over the weights' norm";

/// The example `forecast` of `steadygrad-lab` fitted these weights, and prints them.
const SGD: Logistic<2> = Logistic {
    names: [FIRST_UPDATE, "ln sharpness over the largest stable"],
    bias: -0.8504,
    weights: [0.8761, 0.4438],
};
const ADAM: Logistic<2> = Logistic {
    names: [FIRST_UPDATE, "ln update * gradient norm over the loss"],
    bias: -3.1369,
    weights: [1.6507, 1.2188],
};

impl Risk {
    /// The number of steps of the runs that the model was fitted to.
    pub const BUDGET: u64 = DivergenceForecast::BUDGET;

    /// Computes the probability. `None` where the update rule is not known, or loss, weights,
    /// gradient or learning rate are not positive. A value that overflowed counts as the largest
    /// one.
    pub fn of(
        measurements: &Measurements,
        setup: &TrainingSetup,
        parameters: usize,
    ) -> Option<Self> {
        let rule = setup.update_rule?;
        let Measurements {
            loss,
            weight_norm,
            global_norm,
            ..
        } = *measurements;
        let rate = setup.learning_rate;
        let positive = |value: f64| value > 0.0 || value.is_nan();
        if !([loss, weight_norm, global_norm].into_iter().all(positive) && rate > 0.0) {
            return None;
        }
        let to_first = match rule {
            UpdateRule::Sgd => global_norm,
            // Adam moves every parameter by the learning rate.
            UpdateRule::Adam => (parameters as f64).sqrt(),
        };
        // Along one gradient, momentum makes the update grow to this.
        let update = rate * to_first / (1.0 - setup.momentum);
        let (second, model) = match rule {
            UpdateRule::Sgd => {
                let found = measurements.sharpness.map(|found| found.lambda_max);
                let sharpness = found.map_or(f64::INFINITY, |found| found.max(0.0));
                (log_ratio(sharpness / setup.stable_sharpness()), SGD)
            }
            UpdateRule::Adam => (log_ratio(update * global_norm / loss), ADAM),
        };
        let features = [log_ratio(update / weight_norm), second];
        Some(Self {
            probability: model.probability(&features),
            features: model.named(features),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, setup};

    fn of(change: impl FnOnce(&mut Measurements, &mut TrainingSetup)) -> Option<f64> {
        let (mut measurements, mut setup) = (healthy_measurements(), setup());
        change(&mut measurements, &mut setup);
        Risk::of(&measurements, &setup, 10_000).map(|risk| risk.probability)
    }

    #[test]
    fn the_risk_grows_with_the_learning_rate_and_with_overflow() {
        for rule in [UpdateRule::Sgd, UpdateRule::Adam] {
            let at = |rate: f64| {
                of(|_, setup| (setup.update_rule, setup.learning_rate) = (Some(rule), rate))
            };
            let all: Vec<f64> = [1e-5, 1e-3, 1e-1, 1e1, 1e3]
                .map(|rate| at(rate).unwrap())
                .into();
            assert!(all.is_sorted() && all[0] < 0.05 && all[4] > 0.9, "{all:?}");
            let overflowed = of(|measured, setup| {
                setup.update_rule = Some(rule);
                (measured.loss, measured.global_norm) = (f64::INFINITY, f64::NAN);
                measured.sharpness = None;
            });
            assert!(overflowed.unwrap() > 0.9, "{overflowed:?}");
        }
        let momentum = of(|_, setup| setup.momentum = 0.9).unwrap();
        assert!(momentum > of(|_, _| ()).unwrap());
    }

    #[test]
    fn an_unknown_setting_has_no_risk() {
        assert_eq!(of(|_, setup| setup.update_rule = None), None);
        assert_eq!(of(|_, setup| setup.learning_rate = f64::NAN), None);
        assert_eq!(of(|_, setup| setup.learning_rate = 0.0), None);
        assert_eq!(of(|measured, _| measured.loss = -1.0), None);
        assert_eq!(of(|measured, _| measured.global_norm = 0.0), None);
        assert_eq!(of(|measured, _| measured.weight_norm = 0.0), None);
    }

    /// A loss that bends upwards nowhere does not bound the learning rate.
    #[test]
    fn without_an_upward_bend_the_first_update_counts() {
        let flat = of(|measured, _| measured.sharpness.as_mut().unwrap().lambda_max = -1.0);
        assert!(flat.unwrap() < of(|_, _| ()).unwrap());
    }
}
