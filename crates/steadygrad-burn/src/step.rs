use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::detect::Detection;
use steadygrad::{Decision, Guard, StepReading, Workers};

use crate::apply::apply;
use crate::gradients::gradient_stats;
use crate::weights::weight_norms;

/// What one guarded step did.
#[derive(Debug)]
pub struct GuardedStep<M> {
    /// The model after the step; unchanged when the guard stopped the run.
    pub model: M,
    /// What was measured, before any intervention.
    pub reading: StepReading,
    /// What the guard decided.
    pub decision: Decision,
    /// What the detectors saw.
    pub detections: Vec<Detection>,
}

/// Measures the gradients, asks the guard, acts on its decision, and lets the optimizer step.
///
/// With [`Decision::Keep`] the optimizer gets the very gradients it would have got without a
/// guard; with [`Decision::Stop`] it gets none and the model stays as it was.
pub fn guarded_step<M: Module>(
    guard: &mut Guard,
    model: M,
    mut gradients: GradientsParams,
    optimizer: &mut ModuleOptimizer,
    step: u64,
    loss: f64,
    learning_rate: f64,
) -> GuardedStep<M> {
    let workers = Workers::single();
    let reading = StepReading {
        step,
        loss,
        learning_rate,
        gradients: gradient_stats(&model, &gradients),
        weight_norms: weight_norms(&model),
    };
    let (decision, detections) = guard.step(&reading);
    let model = match decision {
        Decision::Stop { .. } => model,
        _ => {
            apply(&model, &mut gradients, &decision, None, &[], &workers);
            optimizer.step(learning_rate, model, gradients)
        }
    };
    GuardedStep {
        model,
        reading,
        decision,
        detections,
    }
}
