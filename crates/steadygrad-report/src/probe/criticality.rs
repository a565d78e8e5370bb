use steadygrad::dynamics::{CriticalPoint, Criticality, FixedPoint};
use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// `chi_1` this close to 1 counts as 1: the factor is e over a million layers, more than anyone
/// trains.
const CRITICAL: f64 = 1e-6;

/// Where the initialisation lies, and what moves it to the critical line.
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
    let field = &found.mean_field;
    section
        .row(
            "gain sigma_w",
            format!(
                "{}; {}, for {} with biases of sigma_b = {}",
                number::short(field.sigma_w()),
                critical(found.critical),
                field.activation().name(),
                number::short(field.sigma_b())
            ),
        )
        .row(
            "chi_1",
            format!(
                "{}, the factor of the squared gradient norm per {unit} once the signal has \
                 settled: {}",
                number::short(found.chi_1),
                phase(found.chi_1)
            ),
        )
        .row(
            "depth scale",
            format!(
                "{} until the squared gradient norm changes by a factor of e",
                depth(found.depth_scale, unit)
            ),
        )
        .row("signal's variance", signal(found.fixed_point))
        .row("to be critical", change(&found))
}

fn critical(point: CriticalPoint) -> String {
    match point {
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
    }
}

fn phase(chi_1: f64) -> &'static str {
    match chi_1 - 1.0 {
        beyond if beyond.abs() < CRITICAL => "critical",
        beyond if beyond > 0.0 => "gradients grow",
        beyond if beyond < 0.0 => "gradients shrink",
        _ => "not known",
    }
}

fn depth(scale: f64, unit: &str) -> String {
    if scale > 1.0 / CRITICAL {
        format!("beyond {} {unit}s", number::short(1.0 / CRITICAL))
    } else {
        format!("{} {unit}s", number::short(scale))
    }
}

fn signal(fixed_point: FixedPoint) -> String {
    match fixed_point {
        FixedPoint::Zero => "shrinks to zero".into(),
        FixedPoint::Finite(q) => format!("settles at {}", number::short(q)),
        FixedPoint::Every(q) => format!("stays at {}", number::short(q)),
        FixedPoint::Diverges => "grows without bound".into(),
    }
}

fn change(found: &Criticality) -> String {
    match found.weight_scale() {
        Some(scale) if scale.is_finite() && scale > 0.0 => {
            format!("multiply the repeated weights by {}", number::short(scale))
        }
        _ => "no factor on the weights reaches it".into(),
    }
}
