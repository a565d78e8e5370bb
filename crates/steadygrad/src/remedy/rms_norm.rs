use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::draw::up_to;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::safe_product::steps_within_safe_product;
use crate::Evidence;
use crate::dynamics::Axis;
use crate::measurements::TrainingSetup;

/// Puts RMSNorm before the activation of every `every`-th repeated layer, starting at the first.
///
/// The distance between normalised layers is the number of layers over which the activations grow
/// or shrink at most tenfold, by their measured growth. All time steps of a recurrent network share
/// one layer, which is normalised at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RmsNorm {
    /// Distance between normalised layers; 1 is every layer.
    pub every: usize,
}

impl std::fmt::Display for RmsNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.every {
            1 => f.write_str("RMSNorm in every layer"),
            every => write!(f, "RMSNorm in 1 of {every} layers"),
        }
    }
}

impl Definition for RmsNorm {
    const FAMILY: Family = Family::Normalize;
    const PARAMETERS: &'static [Parameter] = &[Parameter::new("every", "EVERY", Range::Count)];
    const BURN: &'static str = include_str!("snippets/rms_norm.rs");
    const PYTORCH: &'static str = include_str!("snippets/rms_norm.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        let growth = &basis.measurements.growth;
        if growth.axis == Axis::Time {
            return Ok((
                Self { every: 1 },
                Derivation {
                    formula: "every = 1: all time steps share one layer".into(),
                    measured: vec![],
                },
            ));
        }
        let depth = basis.setup.depth.ok_or(NotApplicable::Unsupported(
            "its layers cannot be normalised".into(),
        ))?;
        let rate = growth
            .forward_growth_rate()
            .ok_or(NotApplicable::NotMeasured("the growth of the activations"))?;
        // Shrinking is as much a reason to normalise as growing.
        let layers = steps_within_safe_product(rate.max(rate.recip()));
        let every = layers.clamp(1.0, depth.max(1) as f64) as usize;
        Ok((
            Self { every },
            Derivation {
                formula:
                    "every = floor(ln 10 / |ln growth|): the activations change at most tenfold \
                      between two normalised layers"
                        .into(),
                measured: vec![Evidence::new("forward growth per layer", rate)],
            },
        ))
    }

    fn draw(uniform: f64, setup: &TrainingSetup) -> Option<Self> {
        Some(Self {
            every: up_to(setup.depth.unwrap_or(1), uniform),
        })
    }

    fn values(&self) -> Vec<Value> {
        vec![self.every.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};
    use crate::dynamics::GrowthProfile;

    fn derived(axis: Axis, rate: f64) -> Result<RmsNorm, NotApplicable> {
        let (mut measurements, baseline) = (healthy_measurements(), healthy_outcome());
        measurements.growth =
            GrowthProfile::new(axis, (0..30).map(|l| (format!("{l}"), rate.powi(l), 1.0)));
        RmsNorm::derive(Basis::new(&measurements, &setup()).with_baseline(&baseline))
            .map(|(remedy, _)| remedy)
    }

    #[test]
    fn the_distance_follows_the_growth() {
        // ln 10 / ln 1.5 = 5.68
        assert_eq!(derived(Axis::Depth, 1.5), Ok(RmsNorm { every: 5 }));
        assert_eq!(derived(Axis::Depth, 1.0 / 1.5), Ok(RmsNorm { every: 5 }));
        assert_eq!(derived(Axis::Depth, 100.0), Ok(RmsNorm { every: 1 }));
        assert_eq!(derived(Axis::Depth, 1.0), Ok(RmsNorm { every: 30 }));
        assert_eq!(derived(Axis::Time, 1.5), Ok(RmsNorm { every: 1 }));
        assert!(derived(Axis::Depth, f64::NAN).is_err());
        assert!(derived(Axis::Depth, 0.0).is_err());
    }
}
