use steadygrad::dynamics::{NumberFormat, RangeForecast};
use steadygrad::measurements::GrowthSource;
use steadygrad::probe::{GrowthForecast, ProbeReport};

use super::{Section, through};
use crate::number;

/// Marks a depth or length within the network.
const INSIDE: &str = "!";

/// The depth or length at which each number format over- or underflows.
pub(crate) fn forecast(report: &ProbeReport) -> Section {
    let unit = report.measurements.growth.axis.unit();
    let section = Section::new(format!(
        "Forecast: {unit}s until a number format over- or underflows"
    ));
    let Some(forecast) = &report.forecast else {
        return section.not_measured("forecast", "the gradient has no growth rate to extrapolate");
    };
    let (unit, steps) = (forecast.axis.unit(), forecast.steps);
    let rows = NumberFormat::ALL
        .into_iter()
        .map(|format| {
            let find =
                |rows: &[RangeForecast]| rows.iter().find(|row| row.format == format).copied();
            let (gradient, activation) = (find(&forecast.gradient), find(&forecast.activation));
            let cell = |at: Option<f64>| step(at, steps);
            vec![
                format.name().to_owned(),
                cell(gradient.and_then(|row| row.overflows_at)),
                cell(gradient.and_then(|row| row.underflows_at)),
                cell(activation.and_then(|row| row.overflows_at)),
                cell(activation.and_then(|row| row.underflows_at)),
            ]
        })
        .collect();
    let present = number::count(steps as u64, unit);
    let growth = &forecast.gradient_growth;
    let activation = match forecast.activation_log_growth {
        Some(growth) => format!(
            "The activations' root mean square changes by {} per {unit} forwards",
            number::growth(growth.exp())
        ),
        None => "The activations have no lasting growth".into(),
    };
    section
        .table(
            &[
                "format",
                "gradient overflows",
                "underflows",
                "activation overflows",
                "underflows",
            ],
            rows,
        )
        .note(format!(
            "The network's present {} is {present}; {INSIDE} marks a count within it, - means \
             never. {}, with ln growth {} per {unit} backwards, {}; a count is as uncertain as \
             that growth. {activation}.",
            through(forecast.axis),
            start(forecast, unit),
            number::with_error(growth.rate.value, growth.rate.standard_error),
            source(growth.source),
        ))
}

fn start(forecast: &GrowthForecast, unit: &str) -> String {
    match (forecast.gradient_max_abs, forecast.gradient_rms) {
        (Some(largest), Some(usual)) => format!(
            "The gradient's largest value at the last {unit} is {} (what overflows) and its root \
             mean square {} (what underflows)",
            number::short(largest),
            number::short(usual)
        ),
        _ => format!("The gradient at the last {unit} is zero or not finite"),
    }
}

/// The source of the growth, in words.
fn source(source: GrowthSource) -> &'static str {
    match source {
        GrowthSource::Profile => "as measured",
        GrowthSource::Jacobians => {
            "the mean of the Jacobians in a random direction, because the measured gradient left \
             its number format"
        }
        GrowthSource::MeanField => "by mean-field theory, because no gradient could be measured",
    }
}

/// The first whole step at which a format over- or underflows.
fn step(at: Option<f64>, steps: usize) -> String {
    match at {
        // The spaces leave room for the mark, so that digits line up.
        None => "-  ".into(),
        Some(at) if at <= 0.0 => format!("at once {INSIDE}"),
        Some(at) if at <= steps as f64 => format!("{} {INSIDE}", number::short(at.ceil())),
        Some(at) => format!("{}  ", number::short(at.ceil())),
    }
}

/// The first over- or underflow within the network, narrowest format first; `None` when there is
/// none.
pub(crate) fn first_within(forecast: &GrowthForecast) -> Option<String> {
    let inside = |at: Option<f64>| at.filter(|at| *at <= forecast.steps as f64);
    let unit = forecast.axis.unit();
    let all = [
        ("gradient", &forecast.gradient),
        ("activation", &forecast.activation),
    ];
    let mut found = all.into_iter().flat_map(|(signal, rows)| {
        rows.iter().flat_map(move |row| {
            let ends = [
                ("overflows", inside(row.overflows_at)),
                ("underflows", inside(row.underflows_at)),
            ];
            ends.map(|(what, at)| (signal, what, row.format, at))
        })
    });
    found.find_map(|(signal, what, format, at)| {
        let at = at?.max(0.0).ceil();
        Some(format!(
            "in {} the {signal} {what} after {} of {} {unit}s",
            format.name(),
            number::short(at),
            forecast.steps
        ))
    })
}
