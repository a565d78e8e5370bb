use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// The share of subnormal values and what they cost in time.
pub(crate) fn subnormals(report: &ProbeReport) -> Section {
    let found = &report.subnormals;
    let section = Section::new("Subnormal values").row(
        "share",
        format!("{} of the first gradient", number::percent(found.share)),
    );
    match (found.slowdown, found.cost()) {
        (Some(slowdown), Some(cost)) => section.row(
            "cost in time",
            format!(
                "{} for arithmetic on the gradient; a subnormal value takes {} the time of another here",
                number::times(cost),
                number::times(slowdown)
            ),
        ),
        _ => section.not_measured("cost in time", "this machine was not timed"),
    }
}
