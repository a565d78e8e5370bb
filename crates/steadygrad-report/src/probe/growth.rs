use steadygrad::dynamics::GrowthPoint;
use steadygrad::probe::ProbeReport;

use super::{Section, through};
use crate::number;

/// The measured growth, and the theory's.
pub(crate) fn growth(report: &ProbeReport) -> Section {
    let measured = &report.measurements;
    let profile = &measured.growth;
    let unit = profile.axis.unit();
    let mut section = Section::new(format!("Gradient norm through {}", through(profile.axis)));
    if profile.points.is_empty() {
        return section.not_measured("profile", "the subject names no layers or time steps");
    }
    for point in ends(&profile.points) {
        section = section.row(&point.name, number::short(point.gradient_norm));
    }
    section = match profile.backward_log_growth() {
        Some(rate) => section.row(
            "measured",
            format!(
                "{} per {unit}, backwards (ln = {})",
                number::growth(rate.value.exp()),
                number::with_error(rate.value, rate.standard_error)
            ),
        ),
        None => section.row("measured", "no mean factor: an end is zero or not finite"),
    };
    section = match measured.criticality {
        Some(theory) => section.row(
            "mean-field theory",
            format!(
                "{} per {unit} (ln = {}; once the signal has settled ln(chi_1) / 2 = {})",
                number::growth(theory.log_growth.exp()),
                number::near_zero(theory.log_growth),
                number::near_zero(theory.settled_log_growth())
            ),
        ),
        None => section.row("mean-field theory", "none, see criticality"),
    };
    let mean = measured.spectrum.as_ref().and_then(|s| s.mean_log_growth());
    if let Some(mean) = mean {
        section = section.row(
            "Jacobians alone",
            format!(
                "{} per {unit} in a random direction (ln = {})",
                number::growth(mean.value.exp()),
                number::with_error(mean.value, mean.standard_error)
            ),
        );
    }
    if let Some((least, most)) = range(&profile.points) {
        section = section.row(
            "measured range",
            format!("{} to {}", factor(least), factor(most)),
        );
    }
    section.note(format!(
        "± is one standard error of the mean over the {unit}s: how far the rate of another \
         network, initialised in the same way, may lie from this one's. The gradient is the first \
         batch's."
    ))
}

/// The points with the smallest and the largest finite factor.
fn range(points: &[GrowthPoint]) -> Option<(&GrowthPoint, &GrowthPoint)> {
    let by_factor = |a: &&GrowthPoint, b: &&GrowthPoint| {
        let factor = |point: &GrowthPoint| point.backward_growth.unwrap_or(f64::NAN);
        factor(a).total_cmp(&factor(b))
    };
    let finite = || {
        let points = points.iter();
        points.filter(|point| point.backward_growth.is_some_and(f64::is_finite))
    };
    Some((finite().min_by(by_factor)?, finite().max_by(by_factor)?))
}

/// The first and the last point; only one if they are the same.
fn ends(points: &[GrowthPoint]) -> impl Iterator<Item = &GrowthPoint> {
    let last = points.last().filter(|_| points.len() > 1);
    points.first().into_iter().chain(last)
}

fn factor(point: &GrowthPoint) -> String {
    let factor = point.backward_growth.map_or("-".into(), number::times);
    format!("{factor} (at {})", point.name)
}
