//! From measurements and a run to findings: one rule a file, each with a stable code.
//!
//! Rules are asked in causal order, root causes first, so the first finding is the headline and
//! the others are its consequences.

mod sg001_non_finite_gradient;
mod sg002_explosion;
mod sg003_growth_through_depth;
mod sg004_growth_through_time;
mod sg006_learning_rate_beyond_stability;
mod sg007_initialisation_off_criticality;
mod sg010_overflow_of_the_number_format;
mod sg012_vanishing;
mod sg013_subnormals;
mod sg018_unscaled_input;

use serde::{Deserialize, Serialize};

use crate::cure::Outcome;
use crate::measurements::{Measurements, TrainingSetup};
use crate::{Place, float};

/// One number that a finding rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was measured.
    pub name: String,
    /// Its value.
    #[serde(with = "float")]
    pub value: f64,
}

impl Evidence {
    /// Names a number.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}

/// One fault: what, where, why, and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable code, `SG001` and so on.
    pub code: String,
    /// One line: the fault with its number.
    pub title: String,
    /// Where it sits.
    pub place: Place,
    /// Training step at which it was seen; `None` when it is there before the first.
    pub step: Option<u64>,
    /// The numbers.
    pub evidence: Vec<Evidence>,
    /// Why this is bad, in a sentence or two.
    pub why: String,
    /// The concrete change.
    pub help: String,
}

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

/// Asks every rule. Root causes come first.
pub fn diagnose(case: Case<'_>) -> Vec<Finding> {
    [
        sg018_unscaled_input::check,
        sg007_initialisation_off_criticality::check,
        sg003_growth_through_depth::check,
        sg004_growth_through_time::check,
        sg010_overflow_of_the_number_format::check,
        sg012_vanishing::check,
        sg013_subnormals::check,
        sg006_learning_rate_beyond_stability::check,
        sg002_explosion::check,
        sg001_non_finite_gradient::check,
    ]
    .into_iter()
    .filter_map(|rule| rule(&case))
    .collect()
}

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
