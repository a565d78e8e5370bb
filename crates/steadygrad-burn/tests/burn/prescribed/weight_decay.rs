use super::{Mlp, device, input};
use burn::optim::{GradientsParams, SgdConfig};
use steadygrad_burn::{for_each_parameter, gradient_stats};

include!("../../../../steadygrad/src/remedy/snippets/weight_decay.rs");

fn weights(model: &Mlp) -> Vec<Vec<f32>> {
    let mut weights = Vec::new();
    for_each_parameter(model, |_, values| weights.push(values.to_vec()));
    weights
}

#[test]
fn every_weight_shrinks_by_its_share_to_the_bit() {
    let model = Mlp::new(3, &device());
    for learning_rate in [0.3, 1e-3, 0.0] {
        let factor = (1.0 - learning_rate * WEIGHT_DECAY) as f32;
        let expected: Vec<Vec<f32>> = weights(&model)
            .iter()
            .map(|values| values.iter().map(|value| value * factor).collect())
            .collect();
        assert_eq!(
            weights(&decay_weights(model.clone(), learning_rate)),
            expected
        );
    }
}

#[test]
fn the_optimizer_trains_on_and_frozen_weights_stay() {
    let mut model = Mlp::new(3, &device());
    model.output = model.output.no_grad();
    let frozen = model.output.weight.val().into_data();
    let mut optimizer = SgdConfig::new().init();
    for _ in 0..3 {
        let loss = model.loss(input(1.0, &device()));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        // The three hidden layers have a weight and a bias each.
        assert_eq!(gradient_stats(&model, &grads).tensors.len(), 6);
        model = optimizer.step(0.1, model, grads);
        model = decay_weights(model, 0.1);
    }
    assert_eq!(model.output.weight.val().into_data(), frozen);
}

#[test]
fn a_lost_weight_stays_lost() {
    let mut model = Mlp::new(1, &device());
    let broken = |weight: Tensor<2>| (weight.set_require_grad(false) * f32::NAN).require_grad();
    model.output.weight = model.output.weight.map(broken);
    let decayed = decay_weights(model, 0.1);
    let lost = weights(&decayed)
        .concat()
        .iter()
        .filter(|value| value.is_nan())
        .count();
    assert_eq!(lost, 16);
}
