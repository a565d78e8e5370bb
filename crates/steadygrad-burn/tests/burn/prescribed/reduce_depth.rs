use super::{Mlp, device, input};
use burn::optim::GradientsParams;
use steadygrad_burn::gradient_stats;

include!("../../../../steadygrad/src/remedy/snippets/reduce_depth.rs");

#[test]
fn five_layers_remain_and_train() {
    let mut model = Mlp::new(9, &device());
    reduce_depth(&mut model.hidden);
    assert_eq!(model.hidden.len(), 5);
    let loss = model.loss(input(1.0, &device()));
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    // Five hidden layers and the output layer have a weight and a bias each.
    assert_eq!(gradient_stats(&model, &grads).tensors.len(), 12);
}
