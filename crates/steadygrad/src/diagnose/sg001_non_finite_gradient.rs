//! SG001: a gradient or the loss became NaN or infinite.

use super::{Case, Evidence, Finding};
use crate::detect::Detector;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let seen = case
        .outcome?
        .detections
        .iter()
        .find(|detection| detection.detector == Detector::NonFinite)?;
    Some(Finding {
        code: "SG001".into(),
        title: format!("non-finite values at step {}: {}", seen.step, seen.message),
        place: seen.place.clone(),
        step: Some(seen.step),
        evidence: vec![Evidence::new("first non-finite step", seen.step as f64)],
        why: "One such value reaches every weight it is multiplied with at the next update; from \
              then on the model is lost."
            .into(),
        help: "This is the end of the chain, not its start: mend the first finding.".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
    use crate::detect::testing::reading;
    use crate::detect::{NonFinite, Signals};

    #[test]
    fn fires_on_a_nan_only() {
        assert_eq!(verdict(check, |_, _, _| ()), None);
        let found = verdict(check, |_, _, outcome| {
            let reading = reading(4, 1.0, f32::NAN);
            outcome
                .detections
                .extend(NonFinite.check(&Signals::of(&reading)));
        });
        assert_eq!(found.unwrap().step, Some(4));
    }
}
