//! The untreated run, step by step.

use maud::{Markup, html};
use plotly::Scatter;
use plotly::common::{DashType, Line, MarkerSymbol, Mode};
use plotly::layout::HoverMode;
use steadygrad::cure::CureReport;

use super::frame::{
    BLUE, HEIGHT, ORANGE, VerticalLine, bare_axis, figure, layout, log_axis, marker,
    with_vertical_lines,
};
use super::series::Series;
use crate::{facts, number};

/// Up to this many steps each has a marker of its own.
const FEW_STEPS: usize = 60;

pub(in crate::html) fn baseline(report: &CureReport) -> Markup {
    let Some((_, outcome)) = facts::baseline(report) else {
        return html! {};
    };
    let loss = Series::maxima(&outcome.trace.loss);
    let norm = Series::maxima(&outcome.trace.grad_norm);
    let steps = outcome.trace.loss.len().max(outcome.trace.grad_norm.len());
    let mode = || {
        if steps <= FEW_STEPS {
            Mode::LinesMarkers
        } else {
            Mode::Lines
        }
    };
    let stride = loss.stride.max(norm.stride);
    let gaps = loss.gaps() + norm.gaps();

    let onset = facts::Onset::of(outcome);
    let end = steps.max(1) as f64;
    let lines = [
        (
            onset.detection.map(|detection| detection.step),
            "first detection",
            "#8a5a00",
            DashType::Dash,
        ),
        (
            onset.non_finite,
            "first non-finite value",
            "#b42318",
            DashType::Dot,
        ),
    ]
    .into_iter()
    .filter_map(|(step, name, color, dash)| {
        let step = step?;
        Some(VerticalLine {
            x: step as f64,
            text: format!("{name}, step {step}"),
            color,
            dash,
            text_left: step as f64 > 0.6 * end,
        })
    })
    .collect();

    let last = end.max(onset.non_finite.map_or(0.0, |step| step as f64 + 1.0));
    let margin = 0.02 * last;
    let mut x_axis =
        bare_axis("step").range(vec![-margin.max(0.15), last - 1.0 + margin.max(0.15)]);
    if last <= 20.0 {
        x_axis = x_axis.dtick(1.0);
    }
    let layout = with_vertical_lines(
        layout()
            .hover_mode(HoverMode::XUnified)
            .x_axis(x_axis)
            .y_axis(log_axis(
                "size (log scale)",
                [loss.min(), norm.min()]
                    .into_iter()
                    .flatten()
                    .reduce(f64::min),
                [loss.max(), norm.max()]
                    .into_iter()
                    .flatten()
                    .reduce(f64::max),
            )),
        lines,
    );
    let traces: Vec<Box<dyn plotly::Trace>> = vec![
        Scatter::new(norm.steps, norm.values)
            .name("gradient norm")
            .mode(mode())
            .marker(marker(ORANGE, 7))
            .line(Line::new().color(ORANGE)),
        Scatter::new(loss.steps, loss.values)
            .name("loss")
            .mode(mode())
            .marker(marker(BLUE, 6).symbol(MarkerSymbol::SquareOpen))
            .line(Line::new().color(BLUE).dash(DashType::Dash)),
    ];

    let mut caption = format!("The user's run, only observed: it {}.", facts::end(outcome));
    if stride > 1 {
        caption.push_str(&format!(" Each point is the largest of {stride} steps."));
    }
    if gaps > 0 {
        caption.push_str(&format!(
            " Gaps: {} zero or not finite.",
            number::count(gaps as u64, "point")
        ));
    }
    figure(
        "plot-baseline",
        "The baseline, step by step",
        &caption,
        HEIGHT,
        layout,
        traces,
    )
}
