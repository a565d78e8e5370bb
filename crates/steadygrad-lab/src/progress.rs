use std::sync::atomic::{AtomicBool, Ordering};

use steadygrad::cure::Outcome;
use steadygrad::guard::GuardSummary;

/// What a step has done, for [`Progress`].
#[derive(Debug, Clone, Copy)]
pub struct StepProgress<'a> {
    /// The step, from 0.
    pub step: u64,
    /// Loss of its batch.
    pub loss: f64,
    /// Global norm of its gradients, before clipping.
    pub grad_norm: f64,
    /// What the guard has done up to this step.
    pub guard: &'a GuardSummary,
}

/// Watches trials. Several threads call it.
pub trait Progress: Sync {
    /// A trial of this many steps begins.
    fn started(&self, trial: &str, steps: u64);
    /// A trial has made a step.
    fn stepped(&self, trial: &str, done: StepProgress<'_>);
    /// A trial has ended.
    fn ended(&self, trial: &str, outcome: &Outcome);
    /// The job enters its next phase.
    fn phase(&self, name: &str);
}

/// A [`Progress`] that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _trial: &str, _steps: u64) {}
    fn stepped(&self, _trial: &str, _done: StepProgress<'_>) {}
    fn ended(&self, _trial: &str, _outcome: &Outcome) {}
    fn phase(&self, _name: &str) {}
}

/// A caller's hold on a job: it stops the job and watches it.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Set it to stop every trial after its current step.
    pub cancelled: &'a AtomicBool,
    /// Watches the trials.
    pub progress: &'a dyn Progress,
}

impl Control<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("cancelled", self.cancelled)
            .finish_non_exhaustive()
    }
}
