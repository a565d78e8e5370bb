//! From measurements, a trial or a log to findings: one rule a file, each with a stable code.
//!
//! Rules are asked in causal order, root causes first, so the first finding is the headline and
//! the others are its consequences. [`diagnose`] looks at what was measured on a model, and
//! [`diagnose_run`] at the log of any run.

mod confidence;
mod diagnosis;
mod example;
mod finding;
mod forecast;
mod history;
mod layers;
mod logistic;
mod rule;
mod sg001_non_finite_gradient;
mod sg002_explosion;
mod sg003_growth_through_depth;
mod sg004_growth_through_time;
mod sg005_loss_spike;
mod sg006_learning_rate_beyond_stability;
mod sg007_initialisation_off_criticality;
mod sg008_weight_growth;
mod sg009_outlier_batch;
mod sg010_overflow_of_the_number_format;
mod sg011_clip_saturation;
mod sg012_vanishing;
mod sg013_subnormals;
mod sg014_schedule_jump;
mod sg015_plateau_after_a_spike;
mod sg016_stalled_guard;
mod sg017_suspected_backend_fault;
mod sg018_unscaled_input;
mod sg019_rising_norm;

pub use diagnosis::{Diagnosis, Matched, RunDiagnosis, State};
pub use finding::{Chart, Evidence, Finding, Level};
pub use forecast::Forecast;
pub use history::{Ending, GUARDED, History, Rise, Row, Streak};
pub(crate) use logistic::{Logistic, log_ratio};
pub use rule::{Example, Rule};

use crate::cure::Outcome;
use crate::measurements::{Measurements, TrainingSetup};

/// What the rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Measured at initialisation.
    pub measurements: &'a Measurements,
    /// How the run was set up.
    pub setup: &'a TrainingSetup,
    /// How the run went; `None` before there was one.
    pub outcome: Option<&'a Outcome>,
}

/// Every rule, root causes first: of two findings the one whose rule comes first explains the other.
pub static RULES: [Rule; 19] = [
    sg018_unscaled_input::RULE,
    sg007_initialisation_off_criticality::RULE,
    sg014_schedule_jump::RULE,
    sg008_weight_growth::RULE,
    sg009_outlier_batch::RULE,
    sg017_suspected_backend_fault::RULE,
    sg003_growth_through_depth::RULE,
    sg004_growth_through_time::RULE,
    sg010_overflow_of_the_number_format::RULE,
    sg016_stalled_guard::RULE,
    sg005_loss_spike::RULE,
    sg013_subnormals::RULE,
    sg006_learning_rate_beyond_stability::RULE,
    sg015_plateau_after_a_spike::RULE,
    sg012_vanishing::RULE,
    sg011_clip_saturation::RULE,
    sg002_explosion::RULE,
    sg001_non_finite_gradient::RULE,
    sg019_rising_norm::RULE,
];

/// The rule with this code, in any case and with or without its zeros: `sg003` and `SG3` as well.
pub fn rule(code: &str) -> Option<&'static Rule> {
    let number = |code: &str| {
        let (letters, digits) = code.split_at_checked(2)?;
        let known = letters.eq_ignore_ascii_case("SG") && !digits.starts_with('+');
        digits.parse::<u32>().ok().filter(|_| known)
    };
    let asked = number(code)?;
    RULES.iter().find(|rule| number(rule.code) == Some(asked))
}

/// Asks every rule about a model before or after a trial. Root causes come first.
pub fn diagnose(case: Case<'_>) -> Vec<Finding> {
    let rules = RULES.iter();
    rules
        .filter_map(|rule| rule.before_training.and_then(|check| check(&case)))
        .collect()
}

/// Rows before the trouble that a cause may lie in.
const CAUSE: usize = 20;

/// Asks every rule about the log of a run. The first finding is the headline: the root cause of what
/// the run was lost in, or did not come back from. Faults that were over before that come after it,
/// notes last.
pub fn diagnose_run(history: &History<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = RULES
        .iter()
        .filter_map(|rule| rule.check_run(history))
        .collect();
    let worst = found.iter().filter(|finding| finding.level == Level::Error);
    let trouble = history.onset().or_else(|| {
        let step = worst.filter_map(|finding| finding.step).min()?;
        history.rows().iter().position(|row| row.step == step)
    });
    let since = trouble.map_or(0, |row| history.step(row.saturating_sub(CAUSE)));
    // What reaches into those rows, or was there from the start.
    let before = |finding: &Finding| {
        let last = finding.until.or(finding.step);
        let initial = finding.step == history.rows().first().map(|row| row.step);
        last.is_some_and(|last| last < since) && !initial
    };
    // A sort that keeps the rules' order, causes first, among equals.
    found.sort_by_key(|finding| (finding.level == Level::Note, before(finding)));
    if let Some(headline) = found.first_mut()
        && headline.level > Level::Note
    {
        headline.confidence = confidence::confidence(&headline.code);
    }
    found
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};

    /// A healthy case, changed by the caller, and what the rule says of it.
    pub(crate) fn verdict(
        rule: fn(&Case<'_>) -> Option<Finding>,
        change: impl FnOnce(&mut Measurements, &mut TrainingSetup, &mut Outcome),
    ) -> Option<Finding> {
        let (mut measurements, mut setup, mut outcome) =
            (healthy_measurements(), setup(), healthy_outcome());
        change(&mut measurements, &mut setup, &mut outcome);
        rule(&Case {
            measurements: &measurements,
            setup: &setup,
            outcome: Some(&outcome),
        })
    }

    #[test]
    fn a_healthy_case_has_no_finding() {
        let (measurements, setup, outcome) = (healthy_measurements(), setup(), healthy_outcome());
        let case = Case {
            measurements: &measurements,
            setup: &setup,
            outcome: Some(&outcome),
        };
        assert_eq!(diagnose(case), []);
    }
}
