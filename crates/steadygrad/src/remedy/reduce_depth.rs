use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::up_to;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::safe_product::safe_steps;
use crate::dynamics::Axis;
use crate::measurements::TrainingSetup;

/// Uses this many repeated layers.
///
/// It is the depth at which the product of the measured growth leaves the safe range:
/// `floor(ln 10 / ln growth)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReduceDepth {
    /// Number of repeated layers.
    pub depth: usize,
}

impl std::fmt::Display for ReduceDepth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} hidden layers", self.depth)
    }
}

impl Definition for ReduceDepth {
    const FAMILY: Family = Family::Simplify;
    const PARAMETERS: &'static [Parameter] = &[Parameter::new("depth", "DEPTH", Range::Count)];
    const BURN: &'static str = include_str!("snippets/reduce_depth.rs");
    const PYTORCH: &'static str = include_str!("snippets/reduce_depth.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        if basis.measurements.growth.axis != Axis::Depth {
            return Err(NotApplicable::AnotherModel("networks with layers"));
        }
        let (depth, derivation) = safe_steps(basis, basis.setup.depth)?;
        Ok((Self { depth }, derivation))
    }

    fn draw(uniform: f64, setup: &TrainingSetup) -> Option<Self> {
        // A recurrent network is one layer.
        let has_layers = setup.sequence_length.is_none();
        has_layers.then(|| Self {
            depth: up_to(setup.depth.unwrap_or(1), uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.depth.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};
    use crate::dynamics::GrowthProfile;

    fn derived(axis: Axis, rate: f64) -> Result<ReduceDepth, NotApplicable> {
        let (mut measurements, mut setup) = (healthy_measurements(), setup());
        setup.sequence_length = Some(30);
        measurements.growth =
            GrowthProfile::new(axis, (0..30).map(|l| (format!("{l}"), 1.0, rate.powi(-l))));
        ReduceDepth::derive(Basis::new(&measurements, &setup).with_baseline(&healthy_outcome()))
            .map(|(remedy, _)| remedy)
    }

    #[test]
    fn fewer_steps_where_the_product_leaves_the_safe_range() {
        for (rate, depth) in [(1.5, 5), (1e3, 1)] {
            assert_eq!(derived(Axis::Depth, rate), Ok(ReduceDepth { depth }));
        }
    }

    #[test]
    fn nothing_to_mend_and_nothing_measured() {
        for rate in [1.01, 1.0, 0.5] {
            assert!(matches!(
                derived(Axis::Depth, rate),
                Err(NotApplicable::NothingToMend(_))
            ));
        }
        assert!(matches!(
            derived(Axis::Depth, f64::NAN),
            Err(NotApplicable::NotMeasured(_))
        ));
        assert!(matches!(
            derived(Axis::Time, 1.5),
            Err(NotApplicable::AnotherModel(_))
        ));
    }
}
