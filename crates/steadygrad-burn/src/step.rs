use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::guard::Judgement;
use steadygrad::{Guard, StepReading, Workers};

use crate::apply::apply;
use crate::measure::measure_with_parameters;
use crate::norms::{Known, weight_norms};

/// What one guarded step did.
#[derive(Debug)]
pub struct GuardedStep<M> {
    /// The model after the step; unchanged when the guard stopped the run.
    pub model: M,
    /// What was measured, before any intervention.
    pub reading: StepReading,
    /// What the guard decided, and on what grounds.
    pub judgement: Judgement,
}

/// Measures the gradients, asks the guard, acts on its decision, and lets the optimizer step.
///
/// With [`steadygrad::Decision::Keep`] the optimizer gets the very gradients it would have got without a
/// guard; with a decision that does not apply the step it gets none and the model stays as it was.
pub fn guarded_step<M: Module>(
    guard: &mut Guard,
    model: M,
    mut gradients: GradientsParams,
    optimizer: &mut ModuleOptimizer,
    step: u64,
    loss: f64,
    learning_rate: f64,
) -> GuardedStep<M> {
    let mut measured = measure_with_parameters(&model, &gradients, guard.needs());
    let weights = weight_norms(&model, &mut measured, &Known::default());
    let reading = StepReading::new(step, loss, learning_rate, measured.gradient_stats())
        .with_weight_norms(weights.norms);
    let judgement = guard.step_with(&reading, &measured.reading);
    let decision = &judgement.decision;
    let model = if decision.applies() {
        apply(
            &model,
            &mut gradients,
            decision,
            None,
            &[],
            &Workers::single(),
        );
        let learning_rate = learning_rate * judgement.learning_rate_scale;
        optimizer.step(learning_rate, model, gradients)
    } else {
        model
    };
    GuardedStep {
        model,
        reading,
        judgement,
    }
}
