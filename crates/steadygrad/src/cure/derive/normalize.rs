use super::{Basis, Derivation, NotApplicable, steps_within_safe_product};
use crate::Evidence;
use crate::dynamics::Axis;
use crate::remedy::Remedy;

/// The distance between normalised layers is the number of layers over which the measured growth
/// of the activations stays within a factor of ten. Through time every step shares one layer, so
/// it is normalised at each.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let growth = &basis.measurements.growth;
    if growth.axis == Axis::Time {
        return Ok((
            Remedy::RmsNorm { every: 1 },
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
        Remedy::RmsNorm { every },
        Derivation {
            formula: "every = floor(ln 10 / |ln growth|): the activations change at most tenfold \
                      between two normalised layers"
                .into(),
            measured: vec![Evidence::new("forward growth per layer", rate)],
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;
    use crate::dynamics::GrowthProfile;

    fn derived(axis: Axis, rate: f64) -> Result<Remedy, NotApplicable> {
        let (mut measurements, baseline) = (healthy_measurements(), healthy_outcome());
        measurements.growth =
            GrowthProfile::new(axis, (0..30).map(|l| (format!("{l}"), rate.powi(l), 1.0)));
        derive(Basis {
            measurements: &measurements,
            setup: &setup(),
            baseline: Some(&baseline),
        })
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn the_distance_follows_the_growth() {
        // ln 10 / ln 1.5 = 5.68
        assert_eq!(derived(Axis::Depth, 1.5), Ok(Remedy::RmsNorm { every: 5 }));
        assert_eq!(
            derived(Axis::Depth, 1.0 / 1.5),
            Ok(Remedy::RmsNorm { every: 5 })
        );
        assert_eq!(
            derived(Axis::Depth, 100.0),
            Ok(Remedy::RmsNorm { every: 1 })
        );
        assert_eq!(derived(Axis::Depth, 1.0), Ok(Remedy::RmsNorm { every: 30 }));
        assert_eq!(derived(Axis::Time, 1.5), Ok(Remedy::RmsNorm { every: 1 }));
        assert!(derived(Axis::Depth, f64::NAN).is_err());
        assert!(derived(Axis::Depth, 0.0).is_err());
    }
}
