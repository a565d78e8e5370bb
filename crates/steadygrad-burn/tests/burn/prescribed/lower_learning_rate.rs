use super::{LinearConfig, assert_close, device, l2};
use burn::optim::{GradientsParams, SgdConfig};

include!("../../../../steadygrad/src/remedy/snippets/lower_learning_rate.rs");

#[test]
fn the_optimizer_steps_by_this_rate() {
    let mut model = LinearConfig::new(2, 2).init(&device());
    let mut optimizer = SgdConfig::new().init();
    let before = model.weight.val().inner();
    // The gradient of the sum is 1 everywhere, so this gradient is 1000.
    let loss = model.weight.val().sum() * 1000.0;
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    model = optimizer.step(LEARNING_RATE, model, grads);
    let moved = l2(model.weight.val().inner() - before);
    assert_close(moved, 4f64.sqrt() * 1000.0 * 1.25e-5);
}
