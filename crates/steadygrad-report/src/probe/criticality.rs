use steadygrad::dynamics::FixedPoint;
use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// `chi_1` this close to 1 is 1: over a million layers, more than anyone trains, it comes to a
/// factor of e.
const CRITICAL: f64 = 1e-6;

/// Where the initialisation lies, and what would move it to the critical line.
pub(crate) fn criticality(report: &ProbeReport) -> Section {
    let section = Section::new("Criticality, by mean-field theory");
    let Some(found) = report.measurements.criticality else {
        return section.not_measured(
            "chi_1",
            "there are no repeated layers, or normalisation between them",
        );
    };
    let unit = report.measurements.growth.axis.unit();
    let (weights, biases) = (found.mean_field.sigma_w(), found.mean_field.sigma_b());
    let phase = match found.chi_1 - 1.0 {
        beyond if beyond.abs() < CRITICAL => "critical",
        beyond if beyond > 0.0 => "gradients grow",
        beyond if beyond < 0.0 => "gradients shrink",
        _ => "not known",
    };
    let depth = if found.depth_scale > 1.0 / CRITICAL {
        format!("beyond {} {unit}s", number::short(1.0 / CRITICAL))
    } else {
        format!("{} {unit}s", number::short(found.depth_scale))
    };
    let signal = match found.fixed_point {
        FixedPoint::Zero => "dies out".into(),
        FixedPoint::Finite(q) => format!("settles at {}", number::short(q)),
        FixedPoint::Every(q) => format!("stays at {}", number::short(q)),
        FixedPoint::Diverges => "grows without bound".into(),
    };
    let scale = found.weight_scale();
    let change = if scale.is_finite() && scale > 0.0 {
        format!("multiply the repeated weights by {}", number::short(scale))
    } else {
        "no factor on the weights reaches it".into()
    };
    section
        .row(
            "gain sigma_w",
            format!(
                "{}, critical is {} for {} with biases of sigma_b = {}",
                number::short(weights),
                number::short(found.critical_sigma_w),
                found.mean_field.activation().name(),
                number::short(biases)
            ),
        )
        .row(
            "chi_1",
            format!(
                "{}, the squared gradient norm's factor per {unit}: {phase}",
                number::short(found.chi_1)
            ),
        )
        .row(
            "depth scale",
            format!("{depth} until the squared gradient norm changes by a factor of e",),
        )
        .row("signal's variance", signal)
        .row("to be critical", change)
}
