//! The ranking as bars.

use maud::{Markup, html};
use plotly::Bar;
use plotly::common::{ConstrainText, Orientation, TextPosition};
use plotly::layout::{BarMode, CategoryOrder, HoverMode};
use steadygrad::cure::{CureReport, Verdict};

use super::frame::{
    axis, bare_axis, figure, goal_lines, label, layout, marker, metric_range, short_label,
    verdict_color, with_vertical_lines,
};
use crate::{facts, number};

const BAR: usize = 34;
const AROUND: usize = 150;
/// Longest name beside a bar.
const LONGEST_NAME: usize = 28;

pub(in crate::html) fn remedies(report: &CureReport) -> Markup {
    let rows = facts::ranked(report);
    if rows.is_empty() {
        return html! {};
    }
    // One trace for each verdict, so that the legend explains the colours.
    let verdicts = [
        Verdict::Cured,
        Verdict::BelowGoal,
        Verdict::DoesNotLearn,
        Verdict::Diverged,
    ];
    let traces = verdicts
        .into_iter()
        .filter_map(|verdict| bars(verdict, &rows))
        .collect();
    let subject = &report.subject;
    let metrics = rows.iter().map(|row| row.outcome.validation_metric);
    let [low, high] = metric_range(metrics, subject.goal, 0.22);
    let layout = with_vertical_lines(
        layout()
            .bar_mode(BarMode::Overlay)
            .bar_gap(0.35)
            .hover_mode(HoverMode::Closest)
            .x_axis(bare_axis(&subject.metric).range(vec![low, high]))
            .y_axis(
                axis("")
                    .category_order(CategoryOrder::Array)
                    .category_array(rows.iter().rev().map(name).collect::<Vec<_>>()),
            ),
        goal_lines(subject.goal),
    );
    figure(
        "plot-remedies",
        &format!("Validation {} by rank", subject.metric),
        "Best first. Among trials within one standard error of the best, the stability margin and \
         then the work decide, so a shorter bar can rank higher.",
        BAR * rows.len() + AROUND,
        layout,
        traces,
    )
}

/// The rank tells names apart that are alike once shortened.
fn name(row: &facts::RankingRow<'_>) -> String {
    format!(
        "{}. {}",
        row.place.rank,
        short_label(&row.trial.name, LONGEST_NAME)
    )
}

/// The bars of the trials with this verdict; `None` when there are none.
fn bars(verdict: Verdict, ranking: &[facts::RankingRow<'_>]) -> Option<Box<dyn plotly::Trace>> {
    let rows: Vec<_> = ranking
        .iter()
        .filter(|row| row.outcome.verdict == verdict)
        .collect();
    if rows.is_empty() {
        return None;
    }
    // A lost model has no metric; a bar of length zero still carries its text.
    let lengths = rows.iter().map(|row| {
        let metric = row.outcome.validation_metric;
        if metric.is_finite() { metric } else { 0.0 }
    });
    let texts = rows.iter().map(|row| {
        let metric = number::metric(row.outcome.validation_metric);
        format!("{metric} {}", facts::verdict(row.outcome))
    });
    let changes = rows
        .iter()
        .map(|row| label(&facts::change(row.trial)))
        .collect();
    Some(
        Bar::new(
            lengths.collect(),
            rows.iter().map(|row| name(row)).collect(),
        )
        .name(verdict.name())
        .orientation(Orientation::Horizontal)
        .marker(marker(verdict_color(verdict), 1))
        .text_array(texts.collect())
        .text_position(TextPosition::Outside)
        .constrain_text(ConstrainText::None)
        .hover_text_array(changes),
    )
}
