//! Layout, axes, markers and the figure around a plot.

use maud::{Markup, PreEscaped, html};
use plotly::color::NamedColor;
use plotly::common::{Anchor, DashType, ExponentFormat, Font, Marker, Orientation, Title};
use plotly::configuration::DisplayModeBar;
use plotly::layout::{
    Annotation, Axis, AxisType, HoverMode, Legend, Margin, Shape, ShapeLayer, ShapeLine, ShapeType,
};
use plotly::{Configuration, Layout, Plot};
use steadygrad::cure::{Goal, Verdict};

use crate::number;

pub(super) const INK: &str = "#1b1f24";
pub(super) const SOFT: &str = "#57606a";
pub(super) const GRID: &str = "#e4e8ec";
pub(super) const BLUE: &str = "#0072B2";
pub(super) const ORANGE: &str = "#D55E00";

/// Height of a plot with two axes of numbers.
pub(super) const HEIGHT: usize = 400;

/// A plot in a figure: a heading above, a caption below.
pub(super) fn figure(
    id: &str,
    title: &str,
    caption: &str,
    height: usize,
    layout: Layout,
    traces: Vec<Box<dyn plotly::Trace>>,
) -> Markup {
    let mut plot = Plot::new();
    plot.add_traces(traces);
    plot.set_layout(layout.height(height).legend(legend(height)));
    plot.set_configuration(
        Configuration::new()
            .responsive(true)
            // The bar would cover the labels; a double click resets a zoom without it.
            .display_mode_bar(DisplayModeBar::False)
            .typeset_math(false),
    );
    // The template escapes `<`, `>` and `&` in the plot's JSON, so no text can end the script.
    let plot = plot.to_inline_html(Some(id));
    html! {
        figure {
            h3 { (title) }
            div.plot role="img" aria-label=(format!("{title}. {caption}"))
                style=(format!("height:{height}px")) { (PreEscaped(plot)) }
            figcaption { (caption) }
        }
    }
}

/// Text as Plotly shows it: it reads a few HTML tags, so a layer's name must not contain any.
pub(super) fn label(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A label that leaves room for the plot: it keeps the end of a dotted path, which says most.
pub(super) fn short_label(text: &str, longest: usize) -> String {
    let length = text.chars().count();
    if length <= longest {
        return label(text);
    }
    let end: String = text.chars().skip(length + 1 - longest).collect();
    label(&format!("…{end}"))
}

pub(super) fn layout() -> Layout {
    Layout::new()
        .font(
            Font::new()
                .family("system-ui, -apple-system, Segoe UI, Roboto, sans-serif")
                .size(13)
                .color(INK),
        )
        .paper_background_color(NamedColor::Transparent)
        .plot_background_color(NamedColor::Transparent)
        .hover_mode(HoverMode::Closest)
        .margin(margin(14))
}

/// A row below the axis title. Plotly counts its place in heights of the plotting area, so it
/// depends on the height.
fn legend(height: usize) -> Legend {
    const TITLE: f64 = 62.0;
    const AROUND: f64 = 140.0;
    Legend::new()
        .orientation(Orientation::Horizontal)
        .x(0.0)
        .y(-TITLE / (height as f64 - AROUND).max(TITLE))
        .y_anchor(Anchor::Top)
}

fn margin(top: usize) -> Margin {
    Margin::new().left(70).right(20).top(top).bottom(50)
}

pub(super) fn axis(title: &str) -> Axis {
    Axis::new()
        .title(Title::with_text(label(title)).font(Font::new().size(13)))
        .grid_color(GRID)
        .line_color(SOFT)
        .show_line(true)
        .zero_line(false)
        .auto_margin(true)
}

/// An axis of logarithms, whose zero line separates growth from decay.
pub(super) fn zero_axis(title: &str) -> Axis {
    axis(title)
        .zero_line(true)
        .zero_line_color(SOFT)
        .zero_line_width(1)
}

/// Longest name under an axis.
const LONGEST_NAME: usize = 18;
/// Letters that fit side by side under an axis, on a page of 1100 pixels.
const LETTERS: usize = 110;

/// An axis of points 0, 1, ... with as many of their names below as there is room for.
pub(super) fn named_axis(title: &str, names: &[&str]) -> Axis {
    let longest = names.iter().map(|name| name.chars().count()).max();
    let letters = longest.unwrap_or(0).min(LONGEST_NAME) + 2;
    let every = (names.len() * letters).div_ceil(LETTERS).max(1);
    let ticks = || (0..names.len()).step_by(every);
    axis(title)
        .tick_values(ticks().map(|index| index as f64).collect())
        .tick_text(
            ticks()
                .map(|index| short_label(names[index], LONGEST_NAME))
                .collect(),
        )
}

/// A log axis for values between `low` and `high`; over two decades or more it has ticks at powers
/// of ten only.
pub(super) fn log_axis(title: &str, low: Option<f64>, high: Option<f64>) -> Axis {
    let axis = axis(title)
        .type_(AxisType::Log)
        .exponent_format(ExponentFormat::Power)
        .tick_font(Font::new().size(11));
    let (Some(low), Some(high)) = (low, high) else {
        return axis;
    };
    let decades = high.log10() - low.log10();
    if decades < 2.0 {
        return axis;
    }
    axis.dtick((decades / 7.0).ceil())
}

pub(super) fn marker(color: &'static str, size: usize) -> Marker {
    Marker::new().color(color).size(size)
}

/// Where a vertical line stands and what it says.
pub(super) struct VerticalLine {
    pub(super) x: f64,
    pub(super) text: String,
    pub(super) color: &'static str,
    pub(super) dash: DashType,
    /// Whether the text stands left of the line, away from the plot's right edge.
    pub(super) text_left: bool,
}

/// The axis under vertical lines: without a grid, which would cover them.
pub(super) fn bare_axis(title: &str) -> Axis {
    axis(title).show_grid(false)
}

/// Draws vertical lines. Each text is a row higher than the one before, so that none overlap.
pub(super) fn with_vertical_lines(layout: Layout, lines: Vec<VerticalLine>) -> Layout {
    let mut shapes = Vec::new();
    let mut annotations = Vec::new();
    for (row, line) in lines.into_iter().enumerate() {
        shapes.push(
            Shape::new()
                .shape_type(ShapeType::Line)
                // Behind the data, whose labels it may cross.
                .layer(ShapeLayer::Below)
                .x_ref("x")
                .y_ref("paper")
                .x0(line.x)
                .x1(line.x)
                .y0(0.0)
                .y1(1.0)
                .line(
                    ShapeLine::new()
                        .color(line.color)
                        .width(1.5)
                        .dash(line.dash),
                ),
        );
        annotations.push(
            Annotation::new()
                .text(label(&line.text))
                .show_arrow(false)
                .x_ref("x")
                .y_ref("paper")
                .x(line.x)
                .y(1.0)
                .y_anchor(Anchor::Bottom)
                .y_shift(18.0 * row as f64)
                .x_anchor(if line.text_left {
                    Anchor::Right
                } else {
                    Anchor::Left
                })
                .font(Font::new().size(12).color(line.color)),
        );
    }
    layout
        .shapes(shapes)
        .annotations(annotations)
        .margin(margin(46))
}

/// The goal and the trivial predictor on an axis of the metric.
pub(super) fn goal_lines(goal: Goal) -> Vec<VerticalLine> {
    [
        (goal.trivial, "trivial predictor", SOFT, DashType::Dot),
        (goal.metric, "goal", "#1a7f37", DashType::Dash),
    ]
    .into_iter()
    .filter(|(x, ..)| x.is_finite())
    .map(|(x, name, color, dash)| VerticalLine {
        x,
        text: format!("{name} {}", number::metric(x)),
        color,
        dash,
        text_left: name == "goal",
    })
    .collect()
}

/// An axis range over the metrics, the goal and the trivial predictor, with room for text at
/// the right.
pub(super) fn metric_range(metrics: impl Iterator<Item = f64>, goal: Goal, room: f64) -> [f64; 2] {
    let (low, high) = metrics
        .chain([0.0, goal.metric, goal.trivial])
        .filter(|value| value.is_finite())
        .fold((0.0_f64, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    let span = if high > low { high - low } else { 1.0 };
    [low - 0.02 * span * f64::from(low < 0.0), high + room * span]
}

pub(super) fn verdict_color(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Cured => "#1a7f37",
        Verdict::BelowGoal => "#bf8700",
        Verdict::DoesNotLearn => "#8c959f",
        Verdict::Diverged => "#b42318",
    }
}
