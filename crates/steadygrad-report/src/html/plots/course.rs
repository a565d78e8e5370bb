//! A column of a log, from its first step to its last.

use maud::Markup;
use plotly::Scatter;
use plotly::common::{DashType, Line, Mode};
use steadygrad::diagnose::{Chart, RunDiagnosis};

use super::curve::on_log_axis;
use super::frame::{BLUE, VerticalLine, bare_axis, figure, layout, log_axis, with_vertical_lines};
use crate::number;

/// Lower than the other plots: a run has two of them.
const HEIGHT: usize = 300;

/// Draws the plot `id` of a run's column, with a line at the step where the headline begins.
pub(in crate::html) fn course(id: &str, chart: &Chart, run: &RunDiagnosis) -> Markup {
    let unit = run.unit.name();
    let values: Vec<Option<f64>> = chart.values.iter().copied().map(on_log_axis).collect();
    let drawn = || values.iter().copied().flatten();
    let (low, high) = (drawn().reduce(f64::min), drawn().reduce(f64::max));
    let steps: Vec<f64> = chart.steps.iter().map(|step| *step as f64).collect();
    let last = steps.last().copied().unwrap_or(0.0);
    let headline = run.findings.first();
    let lines = headline
        .and_then(|finding| Some((finding, finding.step?)))
        .map(|(finding, step)| VerticalLine {
            x: step as f64,
            text: format!("{}, {unit} {step}", finding.code),
            color: "#b42318",
            dash: DashType::Dot,
            text_left: step as f64 > 0.6 * last,
        });
    let layout = layout().x_axis(bare_axis(unit)).y_axis(log_axis(
        &format!("{} (log scale)", chart.column),
        low,
        high,
    ));
    let layout = with_vertical_lines(layout, lines.into_iter().collect());
    let gaps = values.len() - drawn().count();
    let mut caption =
        format!("Where many {unit}s share one place, the plot shows the largest value.");
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
