use steadygrad::dynamics::{CriticalPoint, FixedPoint};
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
            if report.measurements.normalized {
                "the theory does not describe layers with normalisation between them"
            } else {
                "there are no repeated layers, or the signal that enters them is not finite"
            },
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
    let change = match found.weight_scale() {
        Some(scale) if scale.is_finite() && scale > 0.0 => {
            format!("multiply the repeated weights by {}", number::short(scale))
        }
        _ => "no factor on the weights reaches it".into(),
    };
    let critical = match found.critical {
        CriticalPoint::Continuous { sigma_w, .. } => {
            format!("critical is {}", number::short(sigma_w))
        }
        CriticalPoint::Jump {
            sigma_w,
            below,
            above,
        } => format!(
            "none is critical: at {} chi_1 jumps from {} to {}",
            number::short(sigma_w),
            number::short(below),
            number::short(above)
        ),
    };
    section
        .row(
            "gain sigma_w",
            format!(
                "{}; {critical}, for {} with biases of sigma_b = {}",
                number::short(weights),
                found.mean_field.activation().name(),
                number::short(biases)
            ),
        )
        .row(
            "chi_1",
            format!(
                "{}, the squared gradient norm's factor per {unit} where the signal has settled: \
                 {phase}",
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
