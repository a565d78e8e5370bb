use steadygrad::diagnose::{GradientEffect, rule};
use steadygrad::probe::{ProbeReport, Risk};

use super::first_within;
use crate::number;

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
        return match diverges(report) {
            Some(risk) if report.is_likely_to_diverge() => {
                let growth = match report.forecast {
                    None => "; the growth of its gradient could not be measured",
                    Some(_) => "",
                };
                format!(
                    "{name} will probably diverge: {risk}{growth}. No rule names the cause; try a \
                     lower learning rate first"
                )
            }
            _ => healthy(report),
        };
    };
    let any = |effect: GradientEffect| {
        let rules = report
            .findings
            .iter()
            .filter_map(|finding| rule(&finding.code));
        rules.into_iter().any(|rule| rule.effect == effect)
    };
    // The gradient may explode through depth in a run that will not diverge.
    let risk = diverges(report).filter(|_| !report.is_likely_to_diverge());
    let state = match (any(GradientEffect::Explodes), any(GradientEffect::Vanishes)) {
        (true, _) if risk.is_some() => "has a gradient that explodes",
        (true, _) => "explodes",
        (false, true) => "vanishes",
        (false, false) => "is not healthy",
    };
    let risk = match risk {
        Some(risk) if any(GradientEffect::Explodes) => {
            format!("; the run itself is not likely to diverge: {risk}")
        }
        _ => String::new(),
    };
    let others = match report.findings.len() - 1 {
        0 => String::new(),
        others => format!(" (and {})", number::count(others as u64, "more finding")),
    };
    format!("{name} {state}: {}{others}{risk}", first.title)
}

/// The probability that training diverges, in words; `None` if it is not known.
fn diverges(report: &ProbeReport) -> Option<String> {
    let risk = report.risk.as_ref()?;
    Some(format!(
        "{} within {} steps at the learning rate {}",
        number::probability(risk.probability),
        Risk::BUDGET,
        number::short(report.setup.learning_rate)
    ))
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
