//! The untreated run, step by step.

use maud::{Markup, html};
use plotly::Scatter;
use plotly::common::{DashType, Line, MarkerSymbol, Mode};
use plotly::layout::{Axis, HoverMode};
use steadygrad::cure::{CureReport, Outcome};

use super::curve::Curve;
use super::frame::{
    BLUE, HEIGHT, ORANGE, VerticalLine, bare_axis, figure, layout, log_axis, marker,
    with_vertical_lines,
};
use crate::{facts, number};

/// Up to this many steps, each has its own marker.
const FEW_STEPS: usize = 60;

pub(in crate::html) fn baseline(report: &CureReport) -> Markup {
    let Some((_, outcome)) = facts::baseline(report) else {
        return html! {};
    };
    let loss = Curve::maxima(&outcome.trace.loss);
    let norm = Curve::maxima(&outcome.trace.grad_norm);
    let steps = outcome.trace.loss.len().max(outcome.trace.grad_norm.len());
    let caption = caption(outcome, [&loss, &norm]);
    let sizes = log_axis(
        "size (log scale)",
        extreme([loss.min(), norm.min()], f64::min),
        extreme([loss.max(), norm.max()], f64::max),
    );
    let onset = facts::Onset::of(outcome);
    let layout = with_vertical_lines(
        layout()
            .hover_mode(HoverMode::XUnified)
            .x_axis(step_axis(steps, onset.non_finite))
            .y_axis(sizes),
        onset_lines(&onset, steps),
    );
    let mode = || match steps {
        0..=FEW_STEPS => Mode::LinesMarkers,
        _ => Mode::Lines,
    };
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
    figure(
        "plot-baseline",
        "The baseline, step by step",
        &caption,
        HEIGHT,
        layout,
        traces,
    )
}

fn extreme(values: [Option<f64>; 2], pick: fn(f64, f64) -> f64) -> Option<f64> {
    values.into_iter().flatten().reduce(pick)
}

/// The steps, with a margin on both sides, and a tick at each where there are few.
fn step_axis(steps: usize, non_finite: Option<u64>) -> Axis {
    let end = steps.max(1) as f64;
    let last = end.max(non_finite.map_or(0.0, |step| step as f64 + 1.0));
    let margin = (0.02 * last).max(0.15);
    let axis = bare_axis("step").range(vec![-margin, last - 1.0 + margin]);
    if last <= 20.0 { axis.dtick(1.0) } else { axis }
}

/// Where the run broke: the first detection and the first value that is not finite.
fn onset_lines(onset: &facts::Onset<'_>, steps: usize) -> Vec<VerticalLine> {
    let end = steps.max(1) as f64;
    let detected = onset.detection.map(|detection| detection.step);
    [
        (detected, "first detection", "#8a5a00", DashType::Dash),
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
    .collect()
}

fn caption(outcome: &Outcome, curves: [&Curve; 2]) -> String {
    let mut caption = format!("The user's run, only observed: it {}.", facts::end(outcome));
    let stride = curves.map(|curve| curve.stride).into_iter().max();
    if let Some(stride) = stride.filter(|stride| *stride > 1) {
        caption.push_str(&format!(" Each point is the largest of {stride} steps."));
    }
    let gaps: usize = curves.map(Curve::gaps).into_iter().sum();
    if gaps > 0 {
        caption.push_str(&format!(
            " Gaps: {} zero or not finite.",
            number::count(gaps as u64, "point")
        ));
    }
    caption
}
