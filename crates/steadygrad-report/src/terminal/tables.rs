//! Trials and their verification as tables.

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use steadygrad::cure::{CureReport, Outcome, Trial, TrialKind, Verdict, Verification};

use super::text::{BOLD, DIM, ERROR, GOOD, WARN, WIDTH, clean, field, heading, paint, wrapped};
use crate::{facts, number};

/// Only a thin line under the header.
const LINES: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How a table is laid out.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// How many columns hold words; the others hold numbers.
    words: usize,
    width: u16,
    /// Extra spaces between numbers; every table has one space.
    gap: u16,
}

impl Shape {
    pub(super) const fn words(self, words: usize) -> Self {
        Self { words, ..self }
    }
}

/// For the ranking, which has many columns: a little wider than the text, close together.
const NARROW: Shape = Shape {
    words: 1,
    width: 106,
    gap: 0,
};

/// As wide as the text, which is indented.
pub(super) const WIDE: Shape = Shape {
    words: 1,
    width: WIDTH as u16 - 2,
    gap: 2,
};

/// The ranking, best first, the baseline below it, then the families that do not apply.
pub(super) fn trials(report: &CureReport) -> String {
    let ranked = facts::ranked(report);
    let mut rows: Vec<(Vec<String>, Style)> = ranked
        .iter()
        .map(|row| {
            let tie = if row.place.tied_with_best { "≈ " } else { "" };
            let style = if row.trial.kind == TrialKind::Control {
                DIM
            } else {
                verdict_style(row.outcome.verdict)
            };
            (
                trial_row(row.place.rank.to_string(), row.trial, row.outcome, tie),
                style,
            )
        })
        .collect();
    if let Some((trial, outcome)) = facts::baseline(report) {
        rows.push((trial_row("-".into(), trial, outcome, ""), Style::new()));
    }
    let mut out = String::new();
    if !rows.is_empty() {
        out = heading("Trials, best first");
        let header = [
            "#",
            "trial",
            "change",
            "verdict",
            &report.subject.metric,
            "margin",
            "work",
            "time",
            "clipped",
            "alarms",
        ];
        out.push_str(&render(&header, &rows, NARROW.words(4)));
        let legend = format!(
            "◆ family, with a computed parameter; ◇ control; ≈ within one standard error of the \
             best. margin: largest tried multiple of the trial's own learning rate that survives. \
             work: arithmetic, relative to the baseline's. clipped: share of steps. alarms: steps \
             with a detection. Goal: {} {}.",
            report.subject.metric,
            number::metric(report.subject.goal.metric)
        );
        out.push_str(&wrapped(DIM, &legend, "  ", "  "));
    }
    let not_tried = facts::not_tried(report);
    if !not_tried.is_empty() {
        out.push_str(&heading("Not tried"));
        for (name, reason) in not_tried {
            out.push_str(&field(name, reason));
        }
    }
    out
}

fn trial_row(rank: String, trial: &Trial, outcome: &Outcome, tie: &str) -> Vec<String> {
    let mark = match trial.kind {
        TrialKind::Baseline => " ",
        TrialKind::Family(_) => "◆",
        TrialKind::Control => "◇",
    };
    vec![
        rank,
        format!("{mark} {}", trial.name),
        facts::change(trial),
        facts::verdict(outcome).into(),
        format!("{tie}{}", number::metric(outcome.validation_metric)),
        outcome.stability_margin.map_or("-".into(), number::times),
        number::times(outcome.work),
        number::duration(outcome.seconds),
        number::percent(outcome.clip_rate),
        outcome.detection_steps.to_string(),
    ]
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Cured => GOOD,
        Verdict::BelowGoal | Verdict::DoesNotLearn => WARN,
        Verdict::Diverged => ERROR,
    }
}

/// The winner, the baseline and the controls on fresh seeds.
pub(super) fn verification(report: &CureReport) -> String {
    if report.verification.is_empty() {
        return String::new();
    }
    let rows: Vec<(Vec<String>, Style)> = report
        .verification
        .iter()
        .map(|verified| {
            let style = match report.trial(&verified.trial).map(|trial| trial.kind) {
                Some(TrialKind::Family(_)) => GOOD,
                _ => DIM,
            };
            (verification_row(verified), style)
        })
        .collect();
    let header = ["trial", "solved", "worst", "mean", "sd", "seed: metric"];
    let mut out = heading(&format!("{} on fresh seeds", report.subject.metric));
    out.push_str(&render(&header, &rows, NARROW.words(1)));
    if let Some(sentence) = facts::control_as_good(report) {
        out.push_str(&wrapped(WARN, &sentence, "  ", "  "));
    }
    out
}

fn verification_row(verified: &Verification) -> Vec<String> {
    let seeds: Vec<String> = verified
        .seeds
        .iter()
        .map(|run| {
            format!(
                "{}: {}",
                run.seed,
                number::metric(run.outcome.validation_metric)
            )
        })
        .collect();
    vec![
        verified.trial.clone(),
        format!("{}/{}", verified.solved, verified.seeds.len()),
        number::metric(verified.worst),
        number::metric(verified.mean),
        number::metric(verified.standard_deviation),
        seeds.join("  "),
    ]
}

/// Draws a table and styles its rows line by line: inside the cells the styles would count as
/// width.
pub(super) fn render(header: &[&str], rows: &[(Vec<String>, Style)], shape: Shape) -> String {
    let mut table = Table::new();
    table
        .load_style(LINES)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(shape.width)
        .set_header(header.to_vec());
    for (cells, _) in rows {
        table.add_row(cells.iter().map(|cell| clean(cell)));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        // The table puts one space between columns; right-aligned numbers need few more.
        if index < shape.words {
            column.set_padding((0, 1));
        } else {
            column.set_padding((shape.gap, 0));
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut styles = rows.iter().map(|(_, style)| *style);
    let mut style = Style::new();
    let mut out = String::new();
    for (index, line) in table.lines().enumerate() {
        // A cell that wraps continues on lines whose first column is empty.
        let starts_row = !line.starts_with(' ');
        style = match index {
            0 => BOLD,
            1 => DIM,
            _ if starts_row => styles.next().unwrap_or_default(),
            _ => style,
        };
        out.push_str(&format!("  {}\n", paint(style, line.trim_end())));
    }
    out
}
