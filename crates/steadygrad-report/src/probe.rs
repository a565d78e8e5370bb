//! The text of a probe, section by section. The terminal and the page only draw it.

mod butterfly;
mod criticality;
mod forecast;
mod growth;
mod layers;
mod learning_rate;
mod remedy;
mod risk;
mod spectrum;
mod subnormals;

use steadygrad::diagnose::{GradientEffect, rule};
use steadygrad::dynamics::Axis;
use steadygrad::probe::ProbeReport;

pub(crate) use butterfly::{butterfly, name as series_name, no_butterfly, perturbed};
pub(crate) use criticality::criticality;
pub(crate) use forecast::{first_within, forecast};
pub(crate) use growth::growth;
pub(crate) use layers::layers;
pub(crate) use learning_rate::learning_rate;
pub(crate) use remedy::remedy;
pub(crate) use risk::risk;
pub(crate) use spectrum::spectrum;
pub(crate) use subnormals::subnormals;

use crate::number;

/// A section of the report. Each of its parts may be empty.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// Name and value.
    pub(crate) rows: Vec<(String, String)>,
    pub(crate) table: Option<Table>,
    /// How to read the section, or the settings it was computed with.
    pub(crate) note: Option<String>,
}

/// The first column holds words, the others numbers.
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Section {
    fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    fn row(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.rows.push((name.into(), value.into()));
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn table(mut self, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        self.table = Some(Table {
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            rows,
        });
        self
    }

    /// Adds a row for a number that could not be measured, with the reason.
    fn not_measured(self, name: &str, reason: &str) -> Self {
        self.row(name, format!("not measured: {reason}"))
    }
}

/// The subject, seed and batch in one line.
pub(crate) fn about(report: &ProbeReport) -> String {
    let subject = &report.subject;
    format!(
        "{}: {} · seed {} · batch of {}",
        subject.name,
        subject.description,
        report.seed,
        number::count(report.batch_size as u64, "sample"),
    )
}

/// The verdict in one sentence, the first fault in front.
pub(crate) fn headline(report: &ProbeReport) -> String {
    let name = &report.subject.name;
    let Some(first) = report.findings.first() else {
        return healthy(report);
    };
    let any = |effect: GradientEffect| {
        let rules = report
            .findings
            .iter()
            .filter_map(|finding| rule(&finding.code));
        rules.into_iter().any(|rule| rule.effect == effect)
    };
    let state = if any(GradientEffect::Explodes) {
        "explodes"
    } else if any(GradientEffect::Vanishes) {
        "vanishes"
    } else {
        "is not healthy"
    };
    let others = match report.findings.len() - 1 {
        0 => String::new(),
        others => format!(" (and {})", number::count(others as u64, "more finding")),
    };
    format!("{name} {state}: {}{others}", first.title)
}

fn healthy(report: &ProbeReport) -> String {
    let name = &report.subject.name;
    let unit = report.measurements.growth.axis.unit();
    let Some(forecast) = &report.forecast else {
        return format!(
            "{name}: no fault was found, but the growth of its gradient could not be measured"
        );
    };
    let growth = number::growth(forecast.gradient_growth.rate.value.exp());
    let limit = match first_within(forecast) {
        Some(sentence) => format!("; but {sentence}"),
        None => String::new(),
    };
    let rate = match report.largest_stable_learning_rate() {
        Some(largest) if report.setup.learning_rate > largest => format!(
            "; but the learning rate is {} the largest stable one",
            number::times(report.setup.learning_rate / largest)
        ),
        _ => String::new(),
    };
    format!(
        "{name} is healthy: its gradient changes by {growth} per {unit}, backwards{limit}{rate}"
    )
}

/// `depth` or `time`.
pub(crate) fn through(axis: Axis) -> &'static str {
    match axis {
        Axis::Depth => "depth",
        Axis::Time => "time",
    }
}
