//! The winner and the controls on fresh seeds.

use maud::{Markup, html};
use plotly::Scatter;
use plotly::common::{Line, MarkerSymbol, Mode};
use plotly::layout::{AxisRange, CategoryOrder};
use steadygrad::cure::{CureReport, TrialKind, Verification};

use super::frame::{
    BLUE, SOFT, axis, bare_axis, figure, goal_lines, layout, marker, metric_range, short_label,
    with_vertical_lines,
};
use crate::number;

const ROW: usize = 52;
const AROUND: usize = 150;

pub(in crate::html) fn seeds(report: &CureReport) -> Markup {
    if report.verification.is_empty() {
        return html! {};
    }
    let rows = report.verification.len();
    let mut names: Vec<String> = report
        .verification
        .iter()
        .enumerate()
        .map(|(index, verified)| format!("{}. {}", index + 1, short_label(&verified.trial, 28)))
        .collect();
    let traces = report
        .verification
        .iter()
        .zip(&names)
        .map(|(verified, name)| marks(report, verified, name))
        .collect();
    names.reverse();
    let subject = &report.subject;
    let metrics = || {
        let seeds = report
            .verification
            .iter()
            .flat_map(|verified| &verified.seeds);
        seeds.map(|run| run.outcome.validation_metric)
    };
    let [low, high] = metric_range(metrics(), subject.goal, 0.05);
    let layout = with_vertical_lines(
        layout()
            .x_axis(bare_axis(&subject.metric).range(vec![low, high]))
            .y_axis(
                axis("")
                    .category_order(CategoryOrder::Array)
                    .category_array(names)
                    // A trial whose models are all lost keeps its row.
                    .range(AxisRange::new(-0.5, rows as f64 - 0.5)),
            ),
        goal_lines(subject.goal),
    );
    let mut caption = String::from("One mark for each seed; filled circles are the winner.");
    let lost = metrics().filter(|metric| !metric.is_finite()).count();
    if lost > 0 {
        caption.push_str(&format!(
            " {} lost the model and have no metric.",
            number::count(lost as u64, "run")
        ));
    }
    figure(
        "plot-seeds",
        &format!("Validation {} on fresh seeds", subject.metric),
        &caption,
        ROW * rows + AROUND,
        layout,
        traces,
    )
}

/// The metric of each seed of one trial, as far as it is finite.
fn marks(report: &CureReport, verified: &Verification, name: &str) -> Box<dyn plotly::Trace> {
    let family = report
        .trial(&verified.trial)
        .is_some_and(|trial| matches!(trial.kind, TrialKind::Family(_)));
    let (color, symbol) = if family {
        (BLUE, MarkerSymbol::Circle)
    } else {
        (SOFT, MarkerSymbol::DiamondOpen)
    };
    let finite = || {
        let seeds = verified.seeds.iter();
        seeds.filter(|run| run.outcome.validation_metric.is_finite())
    };
    Scatter::new(
        finite().map(|run| run.outcome.validation_metric).collect(),
        finite().map(|_| name.to_owned()).collect(),
    )
    .name(name)
    .mode(Mode::Markers)
    .show_legend(false)
    .text_array(finite().map(|run| format!("seed {}", run.seed)).collect())
    .marker(
        marker(color, 12)
            .symbol(symbol)
            .opacity(0.75)
            .line(Line::new().color(color).width(2.0)),
    )
}
