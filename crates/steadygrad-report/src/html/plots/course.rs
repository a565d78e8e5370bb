//! A column of a log, from its first step to its last.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{DashType, Line, Mode};
use steadygrad::diagnose::{Chart, Finding};

use super::curve::on_log_axis;
use super::frame::{BLUE, VerticalLine, bare_axis, figure, layout, log_axis, with_vertical_lines};
use crate::number;

/// Lower than the other plots: a run has two of them.
const HEIGHT: usize = 300;

/// Draws the plot `id`, with a line at the step where the headline begins.
pub(in crate::html) fn course(id: &str, chart: &Chart, headline: Option<&Finding>) -> Markup {
    let values: Vec<Option<f64>> = chart.values.iter().copied().map(on_log_axis).collect();
    let drawn = || values.iter().copied().flatten();
    let (low, high) = (drawn().reduce(f64::min), drawn().reduce(f64::max));
    let steps: Vec<f64> = chart.steps.iter().map(|step| *step as f64).collect();
    let last = steps.last().copied().unwrap_or(0.0);
    let lines = headline
        .and_then(|finding| Some((finding, finding.step?)))
        .map(|(finding, step)| VerticalLine {
            x: step as f64,
            text: format!("{}, step {step}", finding.code),
            color: "#b42318",
            dash: DashType::Dot,
            text_left: step as f64 > 0.6 * last,
        });
    let layout = layout().x_axis(bare_axis("step")).y_axis(log_axis(
        &format!("{} (log scale)", chart.column),
        low,
        high,
    ));
    let layout = with_vertical_lines(layout, lines.into_iter().collect());
    let gaps = values.len() - drawn().count();
    let mut caption =
        String::from("Where many steps share one place, the plot shows the largest value.");
    if gaps > 0 {
        caption.push_str(&format!(
            " Gaps: {} zero, negative or not finite.",
            number::count(gaps as u64, "value")
        ));
    }
    let curve = Scatter::new(steps, values)
        .name(&chart.column)
        .mode(Mode::LinesMarkers)
        .marker(super::frame::marker(BLUE, 3))
        .line(Line::new().color(BLUE));
    figure(id, &chart.column, &caption, HEIGHT, layout, vec![curve])
}
