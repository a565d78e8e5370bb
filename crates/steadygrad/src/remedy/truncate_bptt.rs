use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::up_to;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::safe_product::safe_steps;
use crate::dynamics::Axis;
use crate::measurements::TrainingSetup;

/// Stops the backward pass after this many time steps.
///
/// It is the number of steps at which the product of the measured growth leaves the safe range:
/// `floor(ln 10 / ln growth)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruncateBptt {
    /// Number of time steps the gradient flows back.
    pub time_steps: usize,
}

impl std::fmt::Display for TruncateBptt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "backpropagate {} time steps", self.time_steps)
    }
}

impl Definition for TruncateBptt {
    const FAMILY: Family = Family::Simplify;
    const PARAMETERS: &'static [Parameter] =
        &[Parameter::new("time_steps", "TIME_STEPS", Range::Count)];
    const BURN: &'static str = include_str!("snippets/truncate_bptt.rs");
    const PYTORCH: &'static str = include_str!("snippets/truncate_bptt.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        if basis.measurements.growth.axis != Axis::Time {
            return Err(NotApplicable::AnotherModel("recurrent networks"));
        }
        let (time_steps, derivation) = safe_steps(basis, basis.setup.sequence_length)?;
        Ok((Self { time_steps }, derivation))
    }

    fn draw(uniform: f64, setup: &TrainingSetup) -> Option<Self> {
        setup.sequence_length.map(|length| Self {
            time_steps: up_to(length, uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.time_steps.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};
    use crate::dynamics::GrowthProfile;

    fn derived(axis: Axis, rate: f64) -> Result<TruncateBptt, NotApplicable> {
        let (mut measurements, mut setup) = (healthy_measurements(), setup());
        setup.sequence_length = Some(30);
        measurements.growth =
            GrowthProfile::new(axis, (0..30).map(|l| (format!("{l}"), 1.0, rate.powi(-l))));
        TruncateBptt::derive(Basis::new(&measurements, &setup).with_baseline(&healthy_outcome()))
            .map(|(remedy, _)| remedy)
    }

    #[test]
    fn fewer_steps_where_the_product_leaves_the_safe_range() {
        for (rate, time_steps) in [(1.5, 5), (1e3, 1)] {
            assert_eq!(derived(Axis::Time, rate), Ok(TruncateBptt { time_steps }));
        }
    }

    #[test]
    fn nothing_to_mend_and_nothing_measured() {
        for rate in [1.01, 1.0, 0.5] {
            assert!(matches!(
                derived(Axis::Time, rate),
                Err(NotApplicable::NothingToMend(_))
            ));
        }
        assert!(matches!(
            derived(Axis::Time, f64::NAN),
            Err(NotApplicable::NotMeasured(_))
        ));
        assert!(matches!(
            derived(Axis::Depth, 1.5),
            Err(NotApplicable::AnotherModel(_))
        ));
    }
}
