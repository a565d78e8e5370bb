//! Tests the guard's decisions other than rollback by their effect on the weights.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use steadygrad::clip::GlobalNormClip;
use steadygrad::{Decision, Guard, GuardConfig};
use steadygrad_burn::{StepWithoutRollback, for_each_parameter};

const LEARNING_RATE: f64 = 0.1;

fn model() -> Linear {
    LinearConfig::new(3, 2).init(&Device::flex().autodiff())
}

fn weights(model: &impl Module) -> Vec<f32> {
    let mut all = Vec::new();
    for_each_parameter(model, |_, values| all.extend_from_slice(values));
    all
}

fn gradients(model: &Linear, scale: f32) -> (f64, GradientsParams) {
    let input = TensorData::new(vec![1.0f32, -2.0, 3.0], [1, 3]);
    let input = Tensor::<2>::from_data(input, &Device::flex().autodiff());
    let loss = model.forward(input).mul_scalar(scale).square().sum();
    let value = f64::from(loss.clone().into_scalar::<f32>());
    (value, GradientsParams::from_grads(loss.backward(), model))
}

/// Returns the weights before and after one step, and the decision.
fn step(config: GuardConfig, scale: f32) -> (Vec<f32>, Vec<f32>, Decision) {
    let model = model();
    let before = weights(&model);
    let (loss, gradients) = gradients(&model, scale);
    let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
    let mut guard = Guard::new(config).unwrap();
    let outcome = StepWithoutRollback::new(&mut guard, &mut optimizer, 0).run(
        LEARNING_RATE,
        model,
        gradients,
        loss,
    );
    let decision = outcome.report.judgement.decision;
    (before, weights(&outcome.model), decision)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

#[test]
fn a_kept_step_equals_that_of_the_optimizer_alone() {
    let (alone, guarded) = (model(), model());
    // Both start from the same weights.
    let guarded = guarded.load_record(alone.clone().into_record());
    let (_, own) = gradients(&alone, 1.0);
    let (loss, theirs) = gradients(&guarded, 1.0);
    let (mut a, mut b) = (SgdConfig::new().init(), SgdConfig::new().init());
    let mut guard = Guard::default();
    let outcome =
        StepWithoutRollback::new(&mut guard, &mut b, 0).run(LEARNING_RATE, guarded, theirs, loss);
    assert_eq!(outcome.report.judgement.decision, Decision::Keep);
    assert_eq!(
        weights(&a.step(LEARNING_RATE, alone, own)),
        weights(&outcome.model)
    );
}

#[test]
fn an_oversized_gradient_moves_the_weights_no_further_than_the_bound() {
    let max_norm = 0.5;
    let (before, after, decision) = step(
        GuardConfig::default().with_clip(GlobalNormClip::new(max_norm)),
        1e4,
    );
    assert!(matches!(decision, Decision::ScaleGlobal { .. }));
    let moved = distance(&before, &after);
    assert!(
        (moved / (LEARNING_RATE * max_norm) - 1.0).abs() < 1e-3,
        "{moved}"
    );
    // The control: without clipping, the same gradient moves the weights far.
    let (before, after, _) = step(GuardConfig::default(), 1e4);
    assert!(distance(&before, &after) > 1e3);
}

#[test]
fn a_nan_gradient_never_reaches_a_weight() {
    for scale in [f32::NAN, f32::INFINITY, 1e30] {
        for config in [GuardConfig::default(), GuardConfig::stop_on_non_finite()] {
            let (before, after, decision) = step(config, scale);
            assert!(!decision.applies(), "{scale}: {decision:?}");
            assert_eq!(before, after);
        }
    }
    // The control: an observing guard applies the NaN, as a run without a guard would.
    let (_, after, _) = step(GuardConfig::observe(), f32::NAN);
    assert!(after.iter().all(|weight| weight.is_nan()));
}
