use super::{Finding, History, HitRate, ModelCase};
use crate::dynamics::Axis;
use crate::measurements::Measurements;
use crate::remedy::Family;
use crate::trace::{Role, Trace};

/// One rule: its text, its examples, its checks, and what follows from its finding.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Rule {
    /// Stable code, `SG001` and so on. A code is never given to another rule.
    pub code: &'static str,
    /// The fault's name, in words with hyphens.
    pub name: &'static str,
    /// What the finding means.
    pub what: &'static str,
    /// Why that is bad.
    pub why: &'static str,
    /// What the rule needs: measurements, or columns of a log.
    pub evidence: &'static str,
    /// What a log has to be, or the rule says nothing about it.
    pub needs: Needs,
    /// What the rule cannot see.
    pub blind: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What the remedy may break.
    pub fix_safety: &'static str,
    /// Where its thresholds and its reasoning come from.
    pub references: &'static [&'static str],
    /// A case in which the rule finds something, and one in which it finds nothing.
    pub example: Example,
    /// The remedy families that answer its finding.
    pub families: RemedyFamilies,
    /// What its finding says about the gradient: a probe's headline uses the word.
    pub effect: GradientEffect,
    /// How often its headlines were right; `None` where none was ever counted.
    pub hit_rate: Option<HitRate>,
    pub(super) before_training: Option<fn(&ModelCase<'_>) -> Option<Finding>>,
    pub(super) of_run: Option<fn(&History<'_>) -> Option<Finding>>,
}

impl Rule {
    /// Returns what the rule finds in a model.
    pub fn check_model(&self, case: &ModelCase<'_>) -> Option<Finding> {
        self.before_training.and_then(|check| check(case))
    }

    /// Returns what the rule finds in a log, by itself. [`diagnose_run`](super::diagnose_run) asks
    /// all rules and orders their findings. `None` for a log that is not what the rule
    /// [needs](Self::needs).
    pub fn check_run(&self, history: &History<'_>) -> Option<Finding> {
        let check = self.of_run.filter(|_| self.needs.are_met(history))?;
        check(history)
    }
}

/// What a log has to be before a rule may speak about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Each row is one step: the rule speaks of a step, or of its batch.
    pub one_step: bool,
    /// A lower loss is progress: the rule reads a loss that does not fall as a fault. The losses of
    /// two networks against each other, and of a policy, do not fall.
    pub supervised: bool,
    /// Each of these columns.
    pub columns: &'static [Role],
    /// The gradient norms of single parameters.
    pub parameters: bool,
}

impl Needs {
    /// Any log will do.
    pub const ANY: Self = Self {
        one_step: false,
        supervised: false,
        columns: &[],
        parameters: false,
    };

    /// A log whose loss falls as training goes well.
    pub const SUPERVISED: Self = Self {
        supervised: true,
        columns: &[Role::Loss],
        ..Self::ANY
    };

    /// Whether the log is all that.
    pub fn are_met(self, history: &History<'_>) -> bool {
        let trace = history.trace();
        let has_columns = || self.columns.iter().all(|role| trace.series(role).is_some());
        (!self.one_step || history.is_by_step())
            && (!self.supervised || history.is_supervised())
            && (!self.parameters || trace.parameters().next().is_some())
            && has_columns()
    }
}

/// A rule's two examples: one in which it finds something, one in which it finds nothing.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Example {
    /// Two logs.
    Logs {
        /// The rule finds something in this log.
        fires: fn() -> Trace,
        /// The rule finds nothing in this log.
        silent: fn() -> Trace,
    },
    /// Two models, for a rule that no log feeds.
    Measured {
        /// The rule finds something in this model.
        fires: MeasuredExample,
        /// The rule finds nothing in this model.
        silent: MeasuredExample,
    },
}

/// A healthy model with a change.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct MeasuredExample {
    /// The change in words.
    pub text: &'static str,
    /// Makes the change in the measurements of a healthy model.
    pub change: fn(&mut Measurements),
}

/// The remedy families that answer a finding, the one to try first in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemedyFamilies {
    /// For a network of layers.
    pub through_depth: &'static [Family],
    /// For a recurrent network.
    pub through_time: &'static [Family],
}

impl RemedyFamilies {
    /// No family answers the finding.
    pub const NONE: Self = Self::same(&[]);

    /// The same families for either kind of network.
    pub const fn same(families: &'static [Family]) -> Self {
        Self {
            through_depth: families,
            through_time: families,
        }
    }

    /// Returns the families for a network whose gradient travels along this axis.
    pub fn along(self, axis: Axis) -> &'static [Family] {
        match axis {
            Axis::Depth => self.through_depth,
            Axis::Time => self.through_time,
        }
    }
}

/// What a finding says about the gradient before training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GradientEffect {
    /// The gradient, or another signal, grows out of bounds.
    Explodes,
    /// The gradient shrinks to nothing.
    Vanishes,
    /// Something else is wrong.
    Other,
}
