//! From measurements, a trial or a log to findings: one rule a file, each with a stable code.
//!
//! - [`diagnose`] asks every rule about a model ([`ModelCase`]), [`diagnose_run`] about a run's log
//!   ([`History`]). Root causes come first: the first [`Finding`] is the headline.
//! - `rules` holds the rules. A [`Rule`] owns its text, examples, checks, remedies and hit rate.
//! - `run` prepares a log for them; [`RunDiagnosis`] is all that is said about one log.

mod case;
mod divergence;
mod finding;
mod findings;
mod hit_rate;
mod logistic;
mod rule;
mod rules;
mod run;
mod run_diagnosis;
mod sketch;
mod unseen;

pub use case::ModelCase;
pub use divergence::DivergenceForecast;
pub use finding::{Chart, Finding, FindingLevel};
pub use findings::{diagnose, diagnose_run};
pub use hit_rate::HitRate;
pub(crate) use logistic::{Logistic, log_ratio};
pub use rule::{Example, GradientEffect, MeasuredExample, Needs, RemedyFamilies, Rule};
pub use rules::{RULES, rule};
pub use run::{ColumnRise, Ending, GUARDED, History, Row, Streak};
pub use run_diagnosis::{Diagnosis, MatchedColumn, RunDiagnosis, RunState};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
