use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// The share of subnormal values, and their cost in time.
pub(crate) fn subnormals(report: &ProbeReport) -> Section {
    let found = &report.subnormals;
    let unit = report.measurements.growth.axis.unit();
    let section = Section::new("Subnormal values (f32, below 1.2e-38)")
        .row(
            "backward signals",
            format!(
                "{} subnormal and {} underflowed to zero, of the gradients that reach a {unit}",
                number::percent(found.signal_share),
                number::percent(found.signal_lost)
            ),
        )
        .row(
            "weights' gradient",
            format!("{} subnormal", number::percent(found.gradient_share)),
        );
    let (Some(slowdown), Some(cost)) = (found.slowdown, found.cost()) else {
        return section.not_measured("cost in time", "this machine was not timed");
    };
    section
        .row(
            "cost in time",
            format!(
                "{} for a backward pass that keeps its subnormal signals",
                number::times(cost)
            ),
        )
        .note(format!(
            "Timed on this machine: {} of {} on {} took {} the time when all signals were \
             subnormal, median of {} alternating runs.",
            number::count(slowdown.layers as u64, "layer"),
            number::count(slowdown.width as u64, "unit"),
            number::count(slowdown.rows as u64, "row"),
            number::times(slowdown.factor),
            slowdown.repeats
        ))
}
