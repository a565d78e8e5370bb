use burn::tensor::Device;
use steadygrad::dynamics::SpectralNorm;
use steadygrad::measurements::{MatrixRole, Measurements, WeightMatrix};
use steadygrad::remedy::Remedy;
use steadygrad_burn::{for_each_parameter, gradient_stats, weight_norms};

use crate::batches::Batches;
use crate::sharpness::sharpness;
use crate::spectrum::spectrum;
use crate::trial::build;
use crate::{Optimizer, Plan, Subject, Tape};

/// Measures a subject at initialisation, on the first training batch of the plan's seed.
///
/// The sharpness is measured for SGD only: it bounds no other optimizer's learning rate.
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
    let axis = summary.growth_axis();
    let mut growth = tape.into_profile(axis);
    // What lies before the cut of a truncated backward pass gets no gradient by design.
    let last = plan.remedies.iter().find_map(|remedy| match remedy {
        Remedy::TruncateBptt { time_steps } => Some(*time_steps),
        _ => None,
    });
    if let Some(last) = last {
        growth.keep_last(last);
    }
    // The theory holds without normalisation between the layers only.
    let normalized = plan
        .remedies
        .iter()
        .any(|remedy| matches!(remedy, Remedy::RmsNorm { .. }));
    let (spectrum, sharpness) = std::thread::scope(|scope| {
        let model_of_its_own = model.clone();
        // What rules and remedies conclude from it holds for SGD only.
        let sharpness = scope.spawn(move || {
            (plan.optimizer == Optimizer::Sgd)
                .then(|| sharpness(subject, &model_of_its_own, rows, plan.seed))
                .flatten()
        });
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
        weight_norm: weight_norms(&model)
            .iter()
            .map(|norm| norm * norm)
            .sum::<f64>()
            .sqrt(),
        global_norm: stats.global_norm(),
        subnormal_share: stats.subnormal() as f64 / values.max(1) as f64,
        // `ScaleResidual` is for models whose blocks are modules, as PyTorch's are.
        skip_share: None,
        sharpness,
    };
    if !normalized {
        measurements.criticality = measurements.mean_field(subject.bias_std(&model));
    }
    measurements
}

/// The model's matrices and what each does.
pub(crate) fn weight_matrices<S: Subject>(subject: &S, model: &S::Model) -> Vec<WeightMatrix> {
    const ITERATIONS: usize = 50;
    let mut matrices = Vec::new();
    for_each_parameter(model, |parameter, values| {
        let &[fan_in, fan_out] = parameter.shape.as_slice() else {
            return;
        };
        matrices.push(WeightMatrix {
            role: subject.role(&parameter.name).unwrap_or(MatrixRole::Hidden),
            name: parameter.name,
            fan_in,
            fan_out,
            frobenius_norm: values
                .iter()
                .map(|v| f64::from(*v).powi(2))
                .sum::<f64>()
                .sqrt(),
            spectral_norm: SpectralNorm::new(fan_out).estimate(values, ITERATIONS),
        });
    });
    let last = matrices.len().saturating_sub(1);
    for (index, role) in [(last, MatrixRole::Output), (0, MatrixRole::Input)] {
        if let Some(matrix) = matrices.get_mut(index)
            && subject.role(&matrix.name).is_none()
        {
            matrix.role = role;
        }
    }
    matrices
}
