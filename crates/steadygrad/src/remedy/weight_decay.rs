use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::log_uniform;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::short::Short;
use crate::Evidence;
use crate::measurements::TrainingSetup;

/// The number of healthy updates below which the growth of the weights says nothing.
const MIN_UPDATES: u64 = 10;

/// Shrinks all weights after each update: `w <- w (1 - learning_rate * decay)`.
///
/// The decay is decoupled (Loshchilov & Hutter, 2019): the optimizer does not see it, so momentum
/// and Adam's moments stay those of the loss. PyTorch's AdamW shrinks the weights before the
/// update, not after it. The results differ by `learning_rate * decay` times the update.
///
/// The decay balances the growth that was measured. Let the norm of all weights grow by the factor
/// `e^g` per update over the healthy part of the baseline. With the decay its factor is
/// `e^g (1 - learning_rate * decay)`. This is 1 at
///
/// ```text
/// decay = (1 - e^-g) / learning_rate,
/// ```
///
/// which is about `g / learning_rate` for a small `g`: the equilibrium of growth and decay (van
/// Laarhoven, 2017; Kosson et al., 2024, "Rotational equilibrium"). It supposes that the updates
/// keep their size. The learning rate is the mean over the same updates. At that learning rate the
/// factor `1 - learning_rate * decay` lies between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightDecay {
    /// The share of the weights that an update with learning rate 1 takes away.
    pub decay: f64,
}

impl std::fmt::Display for WeightDecay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "decoupled weight decay {}", Short(self.decay))
    }
}

impl Definition for WeightDecay {
    const FAMILY: Family = Family::Regularize;
    const PARAMETERS: &'static [Parameter] =
        &[Parameter::new("decay", "WEIGHT_DECAY", Range::Positive)];
    const BURN: &'static str = include_str!("snippets/weight_decay.rs");
    const PYTORCH: &'static str = include_str!("snippets/weight_decay.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        let growth = basis
            .baseline
            .and_then(|baseline| baseline.weight_growth)
            .filter(|growth| growth.updates >= MIN_UPDATES && growth.log_growth().is_finite())
            .ok_or(NotApplicable::NotMeasured(
                "the growth of the weights over 10 healthy steps",
            ))?;
        let log_growth = growth.log_growth();
        if log_growth <= 0.0 {
            return Err(NotApplicable::NothingToMend(format!(
                "the norm of the weights does not grow: {:.4e} at first, {:.4e} after {} updates",
                growth.start, growth.end, growth.updates
            )));
        }
        let decay = -(-log_growth).exp_m1() / growth.learning_rate;
        if !Range::Positive.contains(decay.into()) {
            return Err(NotApplicable::NotMeasured(
                "a positive, finite learning rate",
            ));
        }
        Ok((
            Self { decay },
            Derivation {
                formula: "decay = (1 - exp(-growth)) / learning_rate: it takes away what the \
                          updates add to the norm of the weights"
                    .into(),
                measured: vec![
                    Evidence::new("weight norm at first", growth.start),
                    Evidence::new("weight norm later", growth.end),
                    Evidence::new("updates between", growth.updates as f64),
                    Evidence::new("log growth per update", log_growth),
                    Evidence::new("mean learning rate", growth.learning_rate),
                ],
            },
        ))
    }

    fn draw(uniform: f64, _setup: &TrainingSetup) -> Option<Self> {
        Some(Self {
            decay: log_uniform(1e-5, 1.0, uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.decay.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::WeightGrowth;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};

    fn derived(growth: Option<WeightGrowth>) -> Result<WeightDecay, NotApplicable> {
        let (measurements, setup) = (healthy_measurements(), setup());
        let mut baseline = healthy_outcome();
        baseline.weight_growth = growth;
        WeightDecay::derive(Basis::new(&measurements, &setup).with_baseline(&baseline))
            .map(|(remedy, _)| remedy)
    }

    fn growth(start: f64, end: f64) -> WeightGrowth {
        WeightGrowth {
            start,
            end,
            updates: 100,
            learning_rate: 0.1,
        }
    }

    #[test]
    fn the_decay_takes_away_what_an_update_adds() {
        for end in [10.000001, 11.0, 20.0, 1e30] {
            let WeightDecay { decay } = derived(Some(growth(10.0, end))).unwrap();
            let factor = (end / 10.0f64).powf(0.01) * (1.0 - 0.1 * decay);
            assert!((factor - 1.0).abs() < 1e-12, "{end}: {factor}");
            assert!((0.0..1.0).contains(&(0.1 * decay)), "{end}: {decay}");
        }
    }

    #[test]
    fn a_small_growth_gives_its_rate_over_the_learning_rate() {
        let WeightDecay { decay } = derived(Some(growth(10.0, 10.01))).unwrap();
        let expected = 1.001f64.ln() / 100.0 / 0.1;
        assert!((decay / expected - 1.0).abs() < 1e-5, "{decay}");
    }

    #[test]
    fn weights_that_do_not_grow_need_no_decay() {
        for end in [10.0, 9.99, 1e-300] {
            let refused = derived(Some(growth(10.0, end)));
            let Err(NotApplicable::NothingToMend(reason)) = refused else {
                panic!("{refused:?}")
            };
            assert!(
                reason.contains("does not grow: 1.0000e1 at first"),
                "{reason}"
            );
        }
    }

    #[test]
    fn odd_rows_are_not_measured() {
        let odd = [0.0, -1.0, f64::NAN, f64::INFINITY];
        let starts = odd.map(|start| growth(start, 20.0));
        let ends = odd.map(|end| growth(10.0, end));
        let rates = odd.map(|learning_rate| WeightGrowth {
            learning_rate,
            ..growth(10.0, 20.0)
        });
        let short = [0, 1, 9].map(|updates| WeightGrowth {
            updates,
            ..growth(10.0, 20.0)
        });
        for growth in [&starts[..], &ends, &rates, &short].concat() {
            let refused = derived(Some(growth));
            assert!(
                matches!(refused, Err(NotApplicable::NotMeasured(_))),
                "{growth:?}: {refused:?}"
            );
        }
        assert!(derived(None).is_err());
        let (measurements, setup) = (healthy_measurements(), setup());
        assert!(WeightDecay::derive(Basis::new(&measurements, &setup)).is_err());
    }
}
