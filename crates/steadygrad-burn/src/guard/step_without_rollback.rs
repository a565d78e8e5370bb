use std::fmt;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::{Guard, StepReading, Workers};

use super::self_measured::{SelfMeasured, measure_step};
use crate::apply::apply;
use crate::outcome::{GuardReport, StepOutcome};

/// One optimizer step under a guard that keeps no snapshots.
///
/// The caller owns the guard, the optimizer and the number of the step. The guard can clip, skip,
/// lower the learning rate and stop. It cannot roll back: weights that are already damaged stay
/// damaged. Use [`GuardedOptimizer`](crate::GuardedOptimizer) where a rollback should be possible.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use burn::tensor::{Device, Tensor};
/// use steadygrad::clip::GlobalNormClip;
/// use steadygrad::{Decision, Guard, GuardConfig};
/// use steadygrad_burn::StepWithoutRollback;
///
/// let device = Device::flex().autodiff();
/// let mut model: Linear = LinearConfig::new(8, 1).init(&device);
/// let mut optimizer = SgdConfig::new().init();
/// let mut guard = Guard::new(GuardConfig::default().with_clip(GlobalNormClip::new(1e-3)))?;
/// for step in 0..3 {
///     let output = model.forward(Tensor::<2>::ones([16, 8], &device));
///     let loss = (output - 10.0).square().mean();
///     let value = loss.clone().into_scalar::<f64>();
///     let gradients = GradientsParams::from_grads(loss.backward(), &model);
///     let outcome = StepWithoutRollback::new(&mut guard, &mut optimizer, step)
///         .run(0.01, model, gradients, value);
///     assert!(matches!(outcome.report.judgement.decision, Decision::ScaleGlobal { .. }));
///     model = outcome.model;
/// }
/// # Ok::<(), steadygrad::guard::GuardConfigError>(())
/// ```
pub struct StepWithoutRollback<'a> {
    guard: &'a mut Guard,
    optimizer: &'a mut ModuleOptimizer,
    step: u64,
}

impl<'a> StepWithoutRollback<'a> {
    /// Prepares step number `step`, counted from 0.
    pub fn new(guard: &'a mut Guard, optimizer: &'a mut ModuleOptimizer, step: u64) -> Self {
        Self {
            guard,
            optimizer,
            step,
        }
    }

    /// Measures the gradients, asks the guard, and lets the optimizer step as decided.
    ///
    /// With [`Decision::Keep`](steadygrad::Decision::Keep) the optimizer gets the same gradients
    /// and the same learning rate as without a guard, bit for bit. With a decision that does not
    /// apply the step, the model and the optimizer stay as they were.
    pub fn run<M: Module>(
        self,
        learning_rate: f64,
        model: M,
        mut gradients: GradientsParams,
        loss: f64,
    ) -> StepOutcome<M> {
        let needs = self.guard.needs();
        let measured = measure_step(&model, &gradients, needs, &SelfMeasured::default());
        let stats = measured.gradients.gradient_stats();
        let reading = StepReading::new(self.step, loss, learning_rate, stats)
            .with_weight_norms(measured.weights.norms);
        let judgement = self.guard.step_with(&reading, &measured.gradients.reading);
        let decision = &judgement.decision;
        let model = if decision.applies() {
            let workers = Workers::single();
            apply(&model, &mut gradients, decision, None, &[], &workers);
            let learning_rate = learning_rate * judgement.learning_rate_scale;
            self.optimizer.step(learning_rate, model, gradients)
        } else {
            model
        };
        StepOutcome {
            model,
            report: GuardReport {
                reading,
                judgement,
                rolled_back_to: None,
                update_norm: None,
            },
        }
    }
}

// Not derived: Burn's optimizer has no `Debug`.
impl fmt::Debug for StepWithoutRollback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepWithoutRollback")
            .field("guard", &self.guard)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
