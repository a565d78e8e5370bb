use steadygrad::measurements::{Sharpness, UpdateRule};
use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// The learning rate, the largest stable one, and the curvature that bounds it.
pub(crate) fn learning_rate(report: &ProbeReport) -> Section {
    let setup = &report.setup;
    let known = !setup.learning_rate.is_nan();
    let present = match known {
        true => format!(
            "{}, momentum {}",
            number::short(setup.learning_rate),
            number::short(setup.momentum)
        ),
        false => "not given, or for neither SGD nor Adam: the bound below is SGD's".into(),
    };
    let mut section = Section::new("Learning rate").row("present", present);
    let Some(measured) = &report.measurements.sharpness else {
        let reason = match setup.update_rule {
            Some(UpdateRule::Adam) => "the sharpness bounds SGD's learning rate, not Adam's",
            _ => "the loss or a gradient overflowed",
        };
        return section.not_measured("largest stable", reason);
    };
    section = match report.largest_stable_learning_rate() {
        Some(largest) if !known => section.row(
            "largest stable",
            format!("{} = 2 (1 + momentum) / sharpness", number::short(largest)),
        ),
        Some(largest) => {
            let times = setup.learning_rate / largest;
            let side = match times {
                times if times <= 1.0 => "within it",
                // Lewkowycz et al., 2020: beyond twice the limit the catapult does not end.
                times if times <= 2.0 => {
                    "above it, where training often jumps to a flatter place and goes on"
                }
                _ => "above it",
            };
            section.row(
                "largest stable",
                format!(
                    "{} = 2 (1 + momentum) / sharpness; the present one is {side}, at {}",
                    number::short(largest),
                    number::times(times)
                ),
            )
        }
        None => section.row(
            "largest stable",
            "none: the sharpness is not positive and finite, so it sets no bound",
        ),
    };
    section.rows.extend(sharpness(measured));
    section
}

/// The sharpness, its error, and the settings it was computed with.
fn sharpness(measured: &Sharpness) -> Vec<(String, String)> {
    let value = number::with_error(measured.lambda_max, Some(measured.residual));
    vec![
        (
            "sharpness".into(),
            format!("{value}, the Hessian's largest eigenvalue (± Lanczos residual)"),
        ),
        (
            "least curvature".into(),
            format!(
                "{}, the smallest eigenvalue",
                number::short(measured.lambda_min)
            ),
        ),
        (
            "made from".into(),
            format!(
                "{}, {} of data, {}",
                number::count(measured.iterations as u64, "Hessian-vector product"),
                number::count(measured.rows as u64, "row"),
                match measured.relative_step {
                    0.0 => "by differentiating twice".into(),
                    step => format!(
                        "finite differences of {} of the weights' norm",
                        number::short(step)
                    ),
                }
            ),
        ),
    ]
}
