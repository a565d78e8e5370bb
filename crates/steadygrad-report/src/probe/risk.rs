use steadygrad::probe::{ProbeReport, Risk};

use super::Section;
use crate::number;

/// The probability that training diverges, and the numbers behind it. `None` if the optimizer is
/// not known.
pub(crate) fn risk(report: &ProbeReport) -> Option<Section> {
    let risk = report.risk.as_ref()?;
    let made_from: Vec<String> = risk
        .features
        .iter()
        .map(|feature| {
            let name = feature.name.strip_prefix("ln ").unwrap_or(&feature.name);
            format!("{name} {}", number::short(feature.value.exp()))
        })
        .collect();
    let section = Section::new("Risk: will training diverge?")
        .row(
            "probability",
            format!(
                "{} within {} steps at the learning rate {}, unguarded",
                number::probability(risk.probability),
                Risk::BUDGET,
                number::short(report.setup.learning_rate)
            ),
        )
        .row("made from", made_from.join("; "))
        .note(
            "A logistic model of these two numbers, fitted to small networks without a warm-up and \
             tested on others: a first guess for a large network.",
        );
    Some(section)
}
