use steadygrad::StepReading;
use steadygrad::guard::Judgement;

/// The model after one training step, and a report of the step.
///
/// A guarded step reports a [`GuardReport`],
/// [`GradientClipper::step`](crate::GradientClipper::step) a
/// [`Clipped`](steadygrad::clip::Clipped).
#[must_use = "the step took the model: go on with `model`"]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StepOutcome<M, R = GuardReport> {
    /// The model to go on with: updated, unchanged, or restored from a snapshot.
    pub model: M,
    /// What was measured and decided.
    pub report: R,
}

/// What a guard measured and decided at one step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GuardReport {
    /// The measurements, taken before any intervention.
    pub reading: StepReading,
    /// The decision with its evidence.
    pub judgement: Judgement,
    /// The step whose snapshot was restored; `None` without a rollback.
    pub rolled_back_to: Option<u64>,
    /// L2 norm of the change of all weights.
    ///
    /// It is `None` when the step was not applied, and always for a
    /// [`StepWithoutRollback`](crate::StepWithoutRollback), which does not measure it. Two cases
    /// concern the optimizers of [`optim`](crate::optim), which measure themselves:
    /// - It is `None` for the one step at which such an optimizer stops measuring.
    /// - Another optimizer may wrap such a one, keep its weights and give the model others. At the
    ///   first step where this happens, unless it is the first of all, the norm is that of the kept
    ///   weights. The guard does not judge by this norm.
    pub update_norm: Option<f64>,
}
