//! Where a finding is, and how sure it is.

use steadygrad::Place;
use steadygrad::diagnose::Finding;
use steadygrad::trace::StepUnit;

use crate::number;

/// When a finding begins and ends, in words. `unit` is what the log's steps count.
fn when(finding: &Finding, unit: StepUnit) -> String {
    match (finding.step, finding.until) {
        (Some(step), Some(until)) if until > step => range(step, until, unit),
        (Some(step), _) => format!("{} {step}", unit.name()),
        (None, _) => "before the first step".into(),
    }
}

/// `steps 3 to 9`.
pub(crate) fn range(first: u64, last: u64, unit: StepUnit) -> String {
    format!("{}s {first} to {last}", unit.name())
}

/// Where and when a finding is. A step of the whole run needs no place.
pub(crate) fn place(finding: &Finding, unit: StepUnit) -> String {
    match (&finding.place, finding.step) {
        (Place::Run, Some(_)) => when(finding, unit),
        (place, _) => format!("{place}, {}", when(finding, unit)),
    }
}

/// The measured hit rate of a headline's rule, in words. It holds for runs like those that it was
/// measured on.
pub(crate) fn confidence(finding: &Finding) -> Option<String> {
    let share = number::probability(finding.confidence?);
    Some(format!(
        "{share} of such headlines were right on drawn runs of small networks, with loss, gradient \
         norm and learning rate at each step"
    ))
}
