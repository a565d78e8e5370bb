use steadygrad::dynamics::{Exponent, GrowthSpectrum};
use steadygrad::probe::ProbeReport;

use super::{Section, through};
use crate::number;

/// The exponents, their errors and the settings they were computed with.
pub(crate) fn spectrum(report: &ProbeReport) -> Section {
    let axis = report.measurements.growth.axis;
    let Some(spectrum) = &report.measurements.spectrum else {
        return Section::new("Spectrum of the product of Jacobians").not_measured(
            "lambda_1",
            "the subject gives no stages; or on every sample the state or a tangent overflowed, or \
             nothing passed through",
        );
    };
    let unit = spectrum.axis.unit();
    let mut section = Section::new(format!(
        "Spectrum of the product of Jacobians through {}",
        through(axis)
    ));
    let (Some(first), Some(last)) = (spectrum.lambda_1(), spectrum.exponents.last()) else {
        return section.not_measured("lambda_1", "no tangent vector was multiplied");
    };
    let count = spectrum.exponents.len();
    let (bound, direction) = match spectrum.lower_bound {
        true => (
            "at least ",
            format!("the best of {count} random directions"),
        ),
        false => ("", "the worst direction".into()),
    };
    section = section.row(
        "lambda_1",
        format!(
            "{bound}{} per {unit}: {} along {direction}",
            logarithm(&first),
            number::growth(first.value.exp()),
        ),
    );
    if count > 1 {
        section = section.row(
            format!("lambda_{count}"),
            format!("{} per {unit}", logarithm(last)),
        );
    }
    section = match spectrum.log_condition() {
        Some(log) => section.row("condition number", number::exponential(log)),
        None => section.not_measured(
            "condition number",
            &format!("{count} of {} exponents are known", spectrum.width),
        ),
    };
    section.note(settings(spectrum))
}

fn logarithm(exponent: &Exponent) -> String {
    number::with_error(exponent.value, exponent.standard_error)
}

/// What the exponents were computed from.
fn settings(spectrum: &GrowthSpectrum) -> String {
    let failed = match spectrum.failed_samples {
        0 => String::new(),
        failed => format!(
            "; {} left out, because it overflowed or passed nothing",
            number::count(failed as u64, "sample")
        ),
    };
    format!(
        "Finite-time exponents, ln(sigma_i) / {}: {} of {} exponents, {}{failed}, {}, seed {}. ± \
         is one standard error over the samples.",
        spectrum.steps,
        spectrum.exponents.len(),
        spectrum.width,
        number::count(spectrum.samples as u64, "sample"),
        number::count(spectrum.steps as u64, "Jacobian"),
        spectrum.seed,
    )
}
