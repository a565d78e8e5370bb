//! The exponents of the whole product.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{ErrorData, ErrorType, Line, Mode};
use steadygrad::dynamics::GrowthSpectrum;

use super::frame::{BLUE, HEIGHT, SOFT, axis, figure, layout, marker, zero_axis};

pub(in crate::html) fn spectrum(spectrum: &GrowthSpectrum) -> Markup {
    let exponents = &spectrum.exponents;
    let index: Vec<f64> = (1..=exponents.len()).map(|index| index as f64).collect();
    let values: Vec<Option<f64>> = exponents
        .iter()
        .map(|exponent| exponent.value.is_finite().then_some(exponent.value))
        .collect();
    let known = exponents.iter().any(|one| one.standard_error.is_some());
    let errors = exponents
        .iter()
        .map(|exponent| exponent.standard_error.unwrap_or(0.0))
        .collect();
    let mut trace = Scatter::new(index, values)
        .name("exponents")
        .mode(Mode::LinesMarkers)
        .marker(marker(BLUE, 6))
        .line(Line::new().color(BLUE).width(1.0));
    if known {
        trace = trace.error_y(
            ErrorData::new(ErrorType::Data)
                .array(errors)
                .color(SOFT)
                .thickness(1.2),
        );
    }
    let unit = spectrum.axis.unit();
    let bars = if known {
        "Bars are one standard error over the samples."
    } else {
        "One sample alone gives no standard error."
    };
    let mut x_axis = axis("index");
    if exponents.len() <= 20 {
        x_axis = x_axis.dtick(1.0);
    }
    figure(
        "plot-spectrum",
        "Spectrum",
        &format!(
            "Log singular values of the product of Jacobians per {unit}, largest first: above 0 a \
             direction of the gradient grows, below 0 it shrinks. {bars}"
        ),
        HEIGHT,
        layout()
            .show_legend(false)
            .x_axis(x_axis)
            .y_axis(zero_axis(&format!("exponent per {unit}"))),
        vec![trace],
    )
}
