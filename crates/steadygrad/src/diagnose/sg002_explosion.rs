//! SG002: an explosion was seen while the run went on.

use super::{Case, Evidence, Finding};
use crate::detect::Detector;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let seen = case
        .outcome?
        .detections
        .iter()
        .find(|detection| detection.detector != Detector::NonFinite)?;
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
    use crate::detect::UpdateRatio;
    use crate::detect::testing::reading;

    #[test]
    fn fires_on_an_oversized_update_only() {
        assert_eq!(verdict(check, |_, _, _| ()), None);
        let found = verdict(check, |_, _, outcome| {
            outcome
                .detections
                .extend(UpdateRatio::default().check(&reading(2, 1.0, 1e4)));
        });
        assert_eq!(found.unwrap().step, Some(2));
    }
}
