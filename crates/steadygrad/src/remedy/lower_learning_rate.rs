use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::log_uniform;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::short::Short;
use crate::Evidence;
use crate::measurements::TrainingSetup;

/// Half of the relative spacing of f32: a smaller update leaves a weight as it is.
const SPACING: f64 = f32::EPSILON as f64 / 2.0;

/// Uses this learning rate.
///
/// It is half of the largest learning rate that is stable at the measured sharpness:
/// `(1 + momentum) / lambda_max`. The bound is exact for SGD and holds for no other optimizer. A
/// rate at which the update is below half of the weights' spacing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LowerLearningRate {
    /// The learning rate.
    pub learning_rate: f64,
}

impl std::fmt::Display for LowerLearningRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "learning rate {}", Short(self.learning_rate))
    }
}

impl Definition for LowerLearningRate {
    const FAMILY: Family = Family::SlowDown;
    const PARAMETERS: &'static [Parameter] = &[Parameter::new(
        "learning_rate",
        "LEARNING_RATE",
        Range::Positive,
    )];
    const BURN: &'static str = include_str!("snippets/lower_learning_rate.rs");
    const PYTORCH: &'static str = include_str!("snippets/lower_learning_rate.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        from_sharpness(basis).map_err(|reason| match basis.optimizer {
            Some(optimizer) if optimizer != "sgd" => NotApplicable::AnotherOptimizer {
                optimizer: optimizer.into(),
            },
            _ => reason,
        })
    }

    fn draw(uniform: f64, _setup: &TrainingSetup) -> Option<Self> {
        Some(Self {
            learning_rate: log_uniform(1e-6, 1.0, uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.learning_rate.into()]
    }
}

fn from_sharpness(basis: Basis<'_>) -> Result<(LowerLearningRate, Derivation), NotApplicable> {
    let sharpness = basis
        .measurements
        .sharpness
        .filter(|sharpness| sharpness.lambda_max.is_finite() && sharpness.lambda_max > 0.0)
        .ok_or(NotApplicable::NotMeasured("the sharpness"))?;
    let setup = basis.setup;
    let learning_rate = (1.0 + setup.momentum) / sharpness.lambda_max;
    if learning_rate >= setup.learning_rate {
        return Err(NotApplicable::NothingToMend(format!(
            "learning rate {} is below half of the stability limit, {learning_rate:.3e}",
            setup.learning_rate
        )));
    }
    let measurements = basis.measurements;
    // Both norms are over the same entries, so their ratio is that of usual entries.
    let update = learning_rate * measurements.global_norm;
    if update < SPACING * measurements.weight_norm {
        return Err(NotApplicable::NothingToMend(format!(
            "at the stable learning rate {learning_rate:.1e} an update is {:.1e} of the weights, \
             less than the spacing of f32: it would change nothing. Bring the gradient down first",
            update / measurements.weight_norm
        )));
    }
    Ok((
        LowerLearningRate { learning_rate },
        Derivation {
            formula: "learning_rate = (1 + momentum) / lambda_max: half of the stability limit"
                .into(),
            measured: vec![
                Evidence::new("lambda_max (sharpness)", sharpness.lambda_max),
                Evidence::new("its relative error bound", sharpness.relative_error()),
                Evidence::new("learning rate now", setup.learning_rate),
            ],
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};

    fn derived(lambda_max: Option<f64>) -> Result<LowerLearningRate, NotApplicable> {
        let mut measurements = healthy_measurements();
        measurements.sharpness = lambda_max.and_then(|lambda_max| {
            Some(crate::measurements::Sharpness {
                lambda_max,
                ..measurements.sharpness?
            })
        });
        LowerLearningRate::derive(
            Basis::new(&measurements, &setup()).with_baseline(&healthy_outcome()),
        )
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn a_rate_that_changes_nothing_is_refused() {
        let refused = derived(Some(1e30)).unwrap_err();
        assert!(matches!(&refused, NotApplicable::NothingToMend(why) if why.contains("spacing")));
    }

    #[test]
    fn half_of_the_limit() {
        assert_eq!(
            derived(Some(1e4)),
            Ok(LowerLearningRate {
                learning_rate: 1e-4
            })
        );
        assert!(matches!(
            derived(Some(1.0)),
            Err(NotApplicable::NothingToMend(_))
        ));
        for odd in [None, Some(f64::NAN), Some(f64::INFINITY), Some(0.0)] {
            assert!(
                matches!(derived(odd), Err(NotApplicable::NotMeasured(_))),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn another_optimizer_is_named_where_there_is_no_sharpness() {
        let mut measurements = healthy_measurements();
        measurements.sharpness = None;
        for (optimizer, named) in [("sgd", false), ("adamw", true)] {
            let setup = setup();
            let basis = Basis::new(&measurements, &setup).with_optimizer(optimizer);
            let reason = LowerLearningRate::derive(basis).unwrap_err().to_string();
            assert_eq!(reason.contains("not of adamw"), named, "{reason}");
        }
    }
}
