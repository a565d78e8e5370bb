use super::{Finding, ModelCase};
use crate::cure::testing::{healthy_measurements, setup};
use crate::detect::Detection;
use crate::measurements::{Measurements, TrainingSetup};

/// What a check says about a healthy model after a change, and after a trial in which the
/// detectors saw nothing else.
pub(crate) fn verdict(
    check: impl Fn(&ModelCase<'_>) -> Option<Finding>,
    change: impl FnOnce(&mut Measurements, &mut TrainingSetup, &mut Vec<Detection>),
) -> Option<Finding> {
    let (mut measurements, mut setup, mut detections) =
        (healthy_measurements(), setup(), Vec::new());
    change(&mut measurements, &mut setup, &mut detections);
    check(&ModelCase::new(&measurements, &setup).with_detections(&detections))
}
