//! The loss of every trial.

use maud::{Markup, html};
use plotly::Scatter;
use plotly::common::{DashType, Line, Mode};
use plotly::layout::AxisRange;
use steadygrad::cure::{CureReport, Outcome, Trial, TrialKind};
use steadygrad::remedy::Family;

use super::curve::Curve;
use super::frame::{INK, axis, figure, label, layout, log_axis, marker};

/// Taller than the other plots: its legend takes several rows.
const HEIGHT: usize = 480;
/// Up to this many points, each has a marker: one point alone draws no line.
const FEW_POINTS: usize = 10;

/// A trial, how it went, and its thinned loss.
type TrialCurve<'a> = (&'a Trial, &'a Outcome, Curve);

pub(in crate::html) fn losses(report: &CureReport) -> Markup {
    let curves: Vec<TrialCurve<'_>> = report
        .trials
        .iter()
        .filter_map(|trial| {
            let outcome = trial.outcome.as_ref()?;
            Some((trial, outcome, Curve::medians(&outcome.trace.loss)))
        })
        .collect();
    if curves.is_empty() {
        return html! {};
    }
    let low = curves.iter().filter_map(|(.., curve)| curve.min());
    let low = low.reduce(f64::min);
    let high = curves.iter().filter_map(|(.., curve)| curve.max());
    let high = high.reduce(f64::max);
    let top = top(&curves).filter(|top| high > Some(*top));
    let mut y_axis = log_axis("training loss (log scale)", low, top.or(high));
    let cut = low.zip(top);
    if let Some((low, top)) = cut {
        y_axis = y_axis.range(AxisRange::new((0.7 * low).log10(), top.log10()));
    }
    let caption = caption(&curves, top, cut.is_some());
    figure(
        "plot-losses",
        "Loss of every trial",
        &caption,
        HEIGHT,
        layout().x_axis(axis("step")).y_axis(y_axis),
        traces(curves),
    )
}

/// Where the axis ends: ten times the largest loss of the runs that survived. Without this end, the
/// runs that diverged would flatten the others.
fn top(curves: &[TrialCurve<'_>]) -> Option<f64> {
    curves
        .iter()
        .filter(|(_, outcome, _)| outcome.verdict.survived())
        .filter_map(|(.., curve)| curve.max())
        .reduce(f64::max)
        .map(|survived| 10.0 * survived)
}

fn caption(curves: &[TrialCurve<'_>], top: Option<f64>, cut: bool) -> String {
    let mut caption = String::from("Families are solid, controls dashed.");
    if cut {
        caption.push_str(
            " The axis ends at ten times the largest loss of the runs that survived; curves that \
             leave it diverged.",
        );
    }
    let visible = |loss: Option<f64>| loss.is_some_and(|loss| top.is_none_or(|top| loss <= top));
    let hidden: Vec<&str> = curves
        .iter()
        .filter(|(.., curve)| !visible(curve.min()))
        .map(|(trial, ..)| trial.name.as_str())
        .collect();
    if !hidden.is_empty() {
        caption.push_str(&format!(
            " Wholly above the axis, or never finite: {}.",
            hidden.join(", ")
        ));
    }
    let stride = curves.iter().map(|(.., curve)| curve.stride).max();
    if let Some(stride) = stride.filter(|stride| *stride > 1) {
        caption.push_str(&format!(
            " In long runs a point is the median of {stride} steps."
        ));
    }
    caption
}

fn traces(curves: Vec<TrialCurve<'_>>) -> Vec<Box<dyn plotly::Trace>> {
    let mut controls = 0;
    curves
        .into_iter()
        .map(|(trial, _, curve)| -> Box<dyn plotly::Trace> {
            let (color, dash) = match trial.kind {
                TrialKind::Baseline => (INK, DashType::Solid),
                TrialKind::Family(family) => (family_color(family), DashType::Solid),
                TrialKind::Control => {
                    controls += 1;
                    control_style(controls)
                }
            };
            let mode = if curve.values.len() <= FEW_POINTS {
                Mode::LinesMarkers
            } else {
                Mode::Lines
            };
            Scatter::new(curve.steps, curve.values)
                .name(label(&trial.name))
                .mode(mode)
                .marker(marker(color, 5))
                .line(Line::new().color(color).dash(dash).width(2.0))
        })
        .collect()
}

/// The palette of Okabe and Ito, distinct to colour-blind eyes.
fn family_color(family: Family) -> &'static str {
    match family {
        Family::Clip => "#0072B2",
        Family::Regularize => "#E69F00",
        Family::Initialize => "#009E73",
        Family::Normalize => "#CC79A7",
        Family::Simplify => "#D55E00",
        Family::SlowDown => "#56B4E9",
    }
}

/// Never solid, so that nobody takes a control for a family.
fn control_style(number: usize) -> (&'static str, DashType) {
    match number % 4 {
        1 => ("#6e7781", DashType::Dash),
        2 => ("#6e7781", DashType::Dot),
        3 => ("#a0522d", DashType::DashDot),
        _ => ("#a0522d", DashType::LongDash),
    }
}
