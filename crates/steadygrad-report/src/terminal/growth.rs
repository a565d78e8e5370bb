//! The growth profile as a one-line chart.

use steadygrad::dynamics::GrowthProfile;

use super::sparkline;
use super::text::{field, heading};
use crate::{number, probe};

pub(super) fn section(profile: &GrowthProfile) -> String {
    let (Some(first), Some(last)) = (profile.points.first(), profile.points.last()) else {
        return String::new();
    };
    let unit = profile.axis.unit();
    let rate = match profile.backward_growth_rate() {
        Some(rate) => format!("{} per {unit}, backwards", number::times(rate)),
        None => "none: an end is zero or not finite".into(),
    };
    let through = probe::through(profile.axis);
    [
        heading(&format!("Gradient norm through {through}")),
        chart(profile),
        field(&first.name, &number::short(first.gradient_norm)),
        field(&last.name, &number::short(last.gradient_norm)),
        field("mean factor", &rate),
    ]
    .concat()
}

/// The gradient's norm, point by point; empty without points.
pub(super) fn chart(profile: &GrowthProfile) -> String {
    if profile.points.is_empty() {
        return String::new();
    }
    let points = profile.points.iter();
    let norms: Vec<f64> = points.map(|point| point.gradient_norm).collect();
    sparkline::logarithmic(&norms, profile.axis.unit())
}
