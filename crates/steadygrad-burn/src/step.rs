use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::detect::Detection;
use steadygrad::{Decision, Guard, StepReading};

use crate::gradients::{gradient_stats, scale_gradients};
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
    gradients: GradientsParams,
    optimizer: &mut ModuleOptimizer,
    step: u64,
    loss: f64,
    learning_rate: f64,
) -> GuardedStep<M> {
    let reading = StepReading {
        step,
        loss,
        learning_rate,
        gradients: gradient_stats(&model, &gradients),
        weight_norms: weight_norms(&model),
    };
    let (decision, detections) = guard.step(&reading);
    let model = match decision {
        Decision::Keep => optimizer.step(learning_rate, model, gradients),
        Decision::ScaleGlobal { coefficient } => {
            let scaled = scale_gradients(&model, gradients, coefficient);
            optimizer.step(learning_rate, model, scaled)
        }
        Decision::Stop { .. } => model,
    };
    GuardedStep {
        model,
        reading,
        decision,
        detections,
    }
}
