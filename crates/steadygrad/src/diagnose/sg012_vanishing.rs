//! SG012: the gradient dies out on its way back.

use super::{Case, Evidence, Finding};
use crate::Place;
use crate::dynamics::Axis;

/// The first layer's gradient may be this share of the last one's before it is a fault
/// (AutoTrainer's rule for vanishing gradients, ICSE 2021: its `beta_1`).
const MIN_RATIO: f64 = 1e-3;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let profile = &case.measurements.growth;
    let (first, last) = (profile.points.first()?, profile.points.last()?);
    // A gradient of exactly zero has vanished whatever the other end is: 0 / 0 as well.
    let ratio = if first.gradient_norm == 0.0 {
        0.0
    } else {
        first.gradient_norm / last.gradient_norm
    };
    if ratio.is_nan() || ratio >= MIN_RATIO || !last.gradient_norm.is_finite() {
        return None;
    }
    let steps = profile.points.len() - 1;
    let unit = profile.axis.unit();
    let mut evidence = vec![
        Evidence::new("first gradient norm over the last", ratio),
        Evidence::new(format!("{unit}s"), steps as f64),
    ];
    if let Some(rate) = profile.backward_growth_rate() {
        evidence.insert(0, Evidence::new(format!("growth factor per {unit}"), rate));
    }
    Some(Finding {
        code: "SG012".into(),
        title: format!("the gradient vanishes: x{ratio:.1e} over {steps} {unit}s"),
        place: match profile.axis {
            Axis::Depth => Place::Layer(first.name.clone()),
            Axis::Time => Place::TimeStep(0),
        },
        step: None,
        evidence,
        why: format!(
            "A mean factor below 1 per {unit} makes the gradient shrink exponentially; what comes \
             first hardly learns, whatever the loss."
        ),
        help: match profile.axis {
            Axis::Depth => {
                "Bring the factor to 1: initialise at the critical scale, normalise, or \
                            add residual connections."
                    .into()
            }
            Axis::Time => "Bring the factor to 1: a larger or orthogonal recurrent matrix, or a \
                           gated cell."
                .into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
    use crate::dynamics::GrowthProfile;

    fn with(first: f64, last: f64) -> Option<Finding> {
        verdict(check, |measurements, _, _| {
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                [("a".to_owned(), 1.0, first), ("b".to_owned(), 1.0, last)],
            );
        })
    }

    #[test]
    fn fires_below_the_ratio_only() {
        assert_eq!(with(1e-3, 1.0), None);
        let finding = with(9e-4, 1.0).unwrap();
        assert_eq!(
            (finding.code.as_str(), finding.place),
            ("SG012", Place::Layer("a".into()))
        );
        // Underflowed to nothing: no rate, and still a finding.
        assert_eq!(with(0.0, 1.0).unwrap().evidence.len(), 2);
        // Nothing flows back at all.
        assert_eq!(with(0.0, 0.0).unwrap().code, "SG012");
        for (first, last) in [(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
            assert_eq!(with(first, last), None);
        }
    }
}
