use super::{Basis, Derivation, NotApplicable, steps_within_safe_product};
use crate::Evidence;
use crate::dynamics::Axis;
use crate::remedy::Remedy;

/// The depth (or the number of time steps the gradient flows back) at which the growth product
/// leaves the safe range: `floor(ln 10 / ln growth)`.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let growth = &basis.measurements.growth;
    let unit = growth.axis.unit();
    let rate = basis
        .measurements
        .log_growth()
        .map(|growth| growth.rate.value.exp())
        .ok_or(NotApplicable::NotMeasured("the gradient's growth"))?;
    let now = match growth.axis {
        Axis::Depth => basis.setup.depth,
        Axis::Time => basis.setup.sequence_length,
    }
    .ok_or_else(|| NotApplicable::Unsupported(format!("its number of {unit}s is fixed")))?;
    let safe = if rate > 1.0 {
        steps_within_safe_product(rate).floor()
    } else {
        f64::INFINITY
    };
    if safe >= now as f64 {
        return Err(NotApplicable::NothingToMend(format!(
            "the gradient grows x{rate:.3} per {unit}, within a factor of ten over all {now}"
        )));
    }
    let steps = safe.max(1.0) as usize;
    let derivation = Derivation {
        formula: format!(
            "floor(ln 10 / ln growth) {unit}s: over so many the gradient grows at most tenfold"
        ),
        measured: vec![
            Evidence::new(format!("backward growth per {unit}"), rate),
            Evidence::new(format!("{unit}s now"), now as f64),
        ],
    };
    let remedy = match growth.axis {
        Axis::Depth => Remedy::ReduceDepth { depth: steps },
        Axis::Time => Remedy::TruncateBptt { time_steps: steps },
    };
    Ok((remedy, derivation))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;
    use crate::dynamics::GrowthProfile;

    fn derived(axis: Axis, rate: f64) -> Result<Remedy, NotApplicable> {
        let (mut measurements, mut setup) = (healthy_measurements(), setup());
        setup.sequence_length = Some(30);
        measurements.growth =
            GrowthProfile::new(axis, (0..30).map(|l| (format!("{l}"), 1.0, rate.powi(-l))));
        derive(Basis {
            measurements: &measurements,
            setup: &setup,
            baseline: Some(&healthy_outcome()),
        })
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn fewer_steps_where_the_product_leaves_the_safe_range() {
        assert_eq!(
            derived(Axis::Depth, 1.5),
            Ok(Remedy::ReduceDepth { depth: 5 })
        );
        assert_eq!(
            derived(Axis::Time, 1.5),
            Ok(Remedy::TruncateBptt { time_steps: 5 })
        );
        assert_eq!(
            derived(Axis::Depth, 1e3),
            Ok(Remedy::ReduceDepth { depth: 1 })
        );
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
    }
}
