//! SG010: a signal leaves f32 within the network's own depth or length.

use super::{Case, Evidence, Finding};
use crate::Place;
use crate::dynamics::NumberFormat;
use crate::probe::GrowthForecast;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let forecast = GrowthForecast::new(case.measurements)?;
    let unit = forecast.axis.unit();
    let first = |signal: &'static str, rows: &[crate::dynamics::RangeForecast], growth: f64| {
        let row = rows.iter().find(|row| row.format == NumberFormat::F32)?;
        let at = row.overflows_at?;
        (at <= forecast.steps as f64).then_some((signal, at, growth))
    };
    let gradient = first(
        "gradient",
        &forecast.gradient,
        forecast.gradient_growth.rate.value,
    );
    let activation = forecast
        .activation_log_growth
        .and_then(|growth| first("activation", &forecast.activation, growth));
    let (signal, at, growth) = gradient.or(activation)?;
    let at = at.max(0.0);
    Some(Finding {
        code: "SG010".into(),
        title: format!(
            "the {signal} overflows f32 after {at:.0} of {} {unit}s",
            forecast.steps
        ),
        place: Place::Run,
        step: None,
        evidence: vec![
            Evidence::new(format!("{unit}s until f32 overflows"), at),
            Evidence::new(format!("growth factor per {unit}"), growth.exp()),
        ],
        why: "What overflows is infinite; infinity times zero is NaN, and one NaN reaches every \
              weight at the next update."
            .into(),
        help: format!(
            "Bring the growth per {unit} to 1; a wider number format only moves the limit."
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
    use crate::dynamics::{Axis, GrowthProfile};

    fn growing(rate: f64, layers: i32) -> Option<Finding> {
        verdict(check, |measurements, _, _| {
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                (0..layers).map(|l| (format!("hidden.{l}"), 1.0, rate.powi(layers - 1 - l))),
            );
        })
    }

    #[test]
    fn fires_when_the_limit_lies_inside_the_network() {
        // 2^128 leaves f32: 127 layers are fine, 130 are not.
        assert_eq!(growing(2.0, 127), None);
        let finding = growing(2.0, 140).unwrap();
        assert_eq!(finding.code, "SG010");
        assert!((finding.evidence[0].value - 128.0).abs() < 0.1);
        assert_eq!(growing(0.5, 1000), None);
        assert_eq!(growing(1.0, 1000), None);
        assert_eq!(growing(f64::NAN, 10), None);
    }

    /// The gradient is steady and the activations are not, and infinite at the end already.
    #[test]
    fn fires_on_activations_too() {
        let finding = verdict(check, |measurements, _, _| {
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                (0..20).map(|l| {
                    let size = 1e3f64.powi(l);
                    let size = if size < f64::from(f32::MAX) {
                        size
                    } else {
                        f64::INFINITY
                    };
                    (format!("hidden.{l}"), size, 1.0)
                }),
            );
        });
        let finding = finding.unwrap();
        assert!(finding.title.starts_with("the activation overflows"));
        assert!((finding.evidence[0].value - 38.53 / 3.0).abs() < 0.01);
    }
}
