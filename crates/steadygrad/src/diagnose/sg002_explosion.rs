//! SG002: an explosion was seen while the run went on.

use super::{Case, Evidence, Finding};
use crate::detect::Detector;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let seen =
        case.outcome?.detections.iter().find(|seen| {
            seen.detector != Detector::NonFinite && seen.detector.is_about_explosion()
        })?;
    Some(Finding {
        code: "SG002".into(),
        title: format!(
            "explosion in progress at step {}: {}",
            seen.step, seen.message
        ),
        place: seen.place.clone(),
        step: Some(seen.step),
        evidence: vec![
            Evidence::new("value", seen.value),
            Evidence::new("threshold", seen.threshold),
        ],
        why: "An update of this size leaves the region in which the gradient says anything about \
              the loss: the step overshoots, and the next gradient is larger still."
            .into(),
        help: "Stop or roll back here, before the numbers overflow.".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
    use crate::detect::testing::reading;
    use crate::detect::{Signals, UpdateRatio, UpdateRatioState};

    #[test]
    fn fires_on_an_oversized_update_only() {
        assert_eq!(verdict(check, |_, _, _| ()), None);
        let found = verdict(check, |_, _, outcome| {
            let reading = reading(2, 1.0, 1e4);
            let (rule, state) = (UpdateRatio::default(), UpdateRatioState::default());
            outcome
                .detections
                .extend(rule.check(&state, &Signals::of(&reading)));
        });
        assert_eq!(found.unwrap().step, Some(2));
    }
}
