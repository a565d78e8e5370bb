use super::{Mlp, assert_close, device, input};
use burn::optim::SgdConfig;
use steadygrad_burn::{gradient_stats, gradient_values, scale_gradients, weight_norms};

include!("../../../../steadygrad/src/remedy/snippets/clip_global_norm.rs");

fn gradients(model: &Mlp, norm: f64) -> GradientsParams {
    let loss = model.loss(input(1.0, &device()));
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let now = gradient_stats(model, &gradients).global_norm();
    scale_gradients(model, gradients, norm / now)
}

#[test]
fn a_larger_norm_is_scaled_to_the_bound_and_keeps_its_direction() {
    let model = Mlp::new(3, &device());
    // The squares of 1e30 overflow f32.
    for norm in [2.6, 40.0, 1e30] {
        let grads = gradients(&model, norm);
        let before = gradient_values(&model, &grads).concat();
        let grads = clip_global_norm(&model, grads);
        assert_close(gradient_stats(&model, &grads).global_norm(), MAX_NORM);
        for (before, after) in before.iter().zip(gradient_values(&model, &grads).concat()) {
            assert!((f64::from(*before) / norm - f64::from(after) / MAX_NORM).abs() < 1e-6);
        }
    }
}

#[test]
fn a_smaller_norm_and_a_broken_gradient_stay_as_they_are() {
    let model = Mlp::new(3, &device());
    for norm in [0.0, 1.0, 2.4999, f64::NAN, f64::INFINITY] {
        let grads = gradients(&model, norm);
        let bits = |grads: &GradientsParams| -> Vec<u32> {
            gradient_values(&model, grads)
                .concat()
                .into_iter()
                .map(f32::to_bits)
                .collect()
        };
        let before = bits(&grads);
        assert_eq!(
            bits(&clip_global_norm(&model, grads)),
            before,
            "norm {norm}"
        );
    }
}

#[test]
fn the_optimizer_takes_the_clipped_gradients() {
    let model = Mlp::new(3, &device());
    let before = weight_norms(&model);
    let grads = gradients(&model, 40.0);
    let grads = clip_global_norm(&model, grads);
    let model = SgdConfig::new().init().step(0.1, model, grads);
    assert_ne!(weight_norms(&model), before);
}
