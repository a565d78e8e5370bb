//! SG004: the gradient grows from time step to time step of a recurrent network.

use super::sg003_growth_through_depth::check_axis;
use super::{Case, Finding};
use crate::dynamics::Axis;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    check_axis(&case.measurements.growth, Axis::Time, "SG004")
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
    use crate::Place;
    use crate::dynamics::GrowthProfile;

    #[test]
    fn fires_through_time_only() {
        let profile = |axis| {
            GrowthProfile::new(
                axis,
                (0..50).map(|t| (format!("t={t}"), 1.0, 1.3f64.powi(49 - t))),
            )
        };
        assert_eq!(
            verdict(check, |m, _, _| m.growth = profile(Axis::Depth)),
            None
        );
        let finding = verdict(check, |m, _, _| m.growth = profile(Axis::Time)).unwrap();
        assert!(matches!(finding.place, Place::TimeStep(_)));
        assert_eq!(finding.code, "SG004");
    }
}
