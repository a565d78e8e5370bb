use super::{Case, Finding, History};
use crate::trace::Trace;

/// One rule: what it says to a person, and what it asks.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable code, `SG001` and so on. A code is never given to another rule.
    pub code: &'static str,
    /// Its name, in words with hyphens.
    pub name: &'static str,
    /// What it means.
    pub what: &'static str,
    /// Why that is bad.
    pub why: &'static str,
    /// What it needs to speak: measurements or columns of a log.
    pub evidence: &'static str,
    /// What it cannot see.
    pub blind: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What the remedy may break.
    pub fix_safety: &'static str,
    /// Where its thresholds and its reasoning come from.
    pub references: &'static [&'static str],
    /// A case in which it speaks, and one in which it does not.
    pub example: Example,
    pub(super) before_training: Option<fn(&Case<'_>) -> Option<Finding>>,
    pub(super) of_run: Option<fn(&History<'_>) -> Option<Finding>>,
}

/// A firing and a silent example of a rule.
#[derive(Debug, Clone, Copy)]
pub enum Example {
    /// Two logs.
    Logs {
        /// The rule finds something here.
        fires: fn() -> Trace,
        /// And nothing here.
        silent: fn() -> Trace,
    },
    /// Two measurements of a model: no log shows what the rule looks at.
    Measured {
        /// The rule finds something here.
        fires: &'static str,
        /// And nothing here.
        silent: &'static str,
    },
}

impl Rule {
    /// What the rule finds in a log, alone. [`diagnose_run`](super::diagnose_run) asks all rules and
    /// puts their findings in order.
    pub fn check_run(&self, history: &History<'_>) -> Option<Finding> {
        self.of_run.and_then(|check| check(history))
    }
}
