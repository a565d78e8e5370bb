//! Gradient and activation size through depth or time.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{DashType, Line, MarkerSymbol, Mode};
use plotly::layout::HoverMode;
use steadygrad::dynamics::{Axis, GrowthPoint, GrowthProfile};

use super::curve::on_log_axis;
use super::frame::{BLUE, HEIGHT, ORANGE, figure, label, layout, log_axis, marker, named_axis};
use crate::number;

pub(in crate::html) fn growth(profile: &GrowthProfile) -> Markup {
    let points = &profile.points;
    let drawn = || {
        points
            .iter()
            .flat_map(|point| [point.gradient_norm, point.activation_rms])
            .filter_map(on_log_axis)
    };
    let gradient = curve(points, "gradient norm", |point| point.gradient_norm)
        .marker(marker(ORANGE, 7))
        .line(Line::new().color(ORANGE));
    let activation = curve(points, "activation root mean square", |point| {
        point.activation_rms
    })
    .marker(marker(BLUE, 6).symbol(MarkerSymbol::SquareOpen))
    .line(Line::new().color(BLUE).dash(DashType::Dash));

    let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
    let x_axis = named_axis(
        &format!("{}, in forward order", profile.axis.unit()),
        &names,
    );
    let layout = layout()
        .hover_mode(HoverMode::XUnified)
        .x_axis(x_axis)
        .y_axis(log_axis(
            "size (log scale)",
            drawn().reduce(f64::min),
            drawn().reduce(f64::max),
        ));
    let title = match profile.axis {
        Axis::Depth => "Growth through depth",
        Axis::Time => "Growth through time",
    };
    let gaps = 2 * points.len() - drawn().count();
    figure(
        "plot-growth",
        title,
        &caption(profile, gaps),
        HEIGHT,
        layout,
        vec![gradient, activation],
    )
}

fn curve(
    points: &[GrowthPoint],
    name: &str,
    size: fn(&GrowthPoint) -> f64,
) -> Box<Scatter<f64, Option<f64>>> {
    let x: Vec<f64> = (0..points.len()).map(|index| index as f64).collect();
    let y: Vec<Option<f64>> = points
        .iter()
        .map(|point| on_log_axis(size(point)))
        .collect();
    Scatter::new(x, y)
        .name(name)
        .mode(Mode::LinesMarkers)
        .text_array(points.iter().map(|point| label(&point.name)).collect())
}

fn caption(profile: &GrowthProfile, gaps: usize) -> String {
    let unit = profile.axis.unit();
    let mut caption = match profile.backward_growth_rate() {
        Some(rate) => format!(
            "Before the first step. Read backwards, from right to left, the gradient is \
             multiplied by {} per {unit} on average.",
            number::short(rate)
        ),
        None => "Before the first step. The gradient has no mean growth factor here.".into(),
    };
    if gaps > 0 {
        caption.push_str(&format!(
            " Gaps: {} zero or not finite.",
            number::count(gaps as u64, "value")
        ));
    }
    caption
}
