use burn::tensor::Device;
use steadygrad::measurements::Measurements;
use steadygrad_burn::{gradient_stats, weight_norms};

use crate::batches::Batches;
use crate::build::build;
use crate::remedies::structure_of;
use crate::sharpness::sharpness;
use crate::spectrum::spectrum;
use crate::weight_matrices::weight_matrices;
use crate::{Optimizer, Plan, Subject, Tape, flat};

/// Measures a subject at initialisation, on the first training batch of the plan's seed.
///
/// The sharpness is measured for SGD only, because it bounds no other optimizer's learning rate.
pub fn measure<S: Subject>(subject: &S, plan: &Plan, device: &Device) -> Measurements {
    let summary = subject.summary();
    let (model, _) = build(subject, plan, &plan.remedies, device);
    let mut batches = Batches::new(summary.training_samples, plan.batch_size, plan.seed);
    let rows = batches.next_batch();
    let mut tape = Tape::on();
    let (loss, gradients) = subject.loss_and_gradients(&model, rows, &mut tape);
    let stats = gradient_stats(&model, &gradients);
    let values: u64 = stats.tensors.iter().map(|tensor| tensor.stats.len).sum();
    let weights = weight_matrices(subject, &model);
    let structure = structure_of(&plan.remedies);
    let axis = summary.growth_axis();
    let mut growth = tape.into_profile(axis);
    // Steps before the cut of a truncated backward pass get no gradient by design.
    if let Some(last) = structure.bptt_steps {
        growth.keep_last(last);
    }
    // Mean-field theory does not hold with a normalisation between the layers.
    let normalized = structure.rms_norm_every.is_some();
    let (spectrum, sharpness) = std::thread::scope(|scope| {
        let copy = model.clone();
        let sharpness = scope.spawn(move || {
            (plan.optimizer == Optimizer::Sgd)
                .then(|| sharpness(subject, &copy, rows, plan.seed))
                .flatten()
        });
        let last = structure.bptt_steps;
        let spectrum = spectrum(subject, &model, rows, plan.seed, axis, last);
        let sharpness = sharpness
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (spectrum, sharpness)
    });
    let mut measurements = Measurements {
        loss,
        input_rms: subject.input_rms(rows),
        growth,
        spectrum,
        criticality: None,
        normalized,
        activation: summary.activation,
        weights,
        weight_norm: flat::norm(&weight_norms(&model)),
        global_norm: stats.global_norm(),
        subnormal_share: stats.subnormal() as f64 / values.max(1) as f64,
        // The lab's subjects do not expose their residual blocks.
        skip_share: None,
        sharpness,
    };
    if !normalized {
        measurements.criticality = measurements.mean_field(subject.bias_std(&model));
    }
    measurements
}
