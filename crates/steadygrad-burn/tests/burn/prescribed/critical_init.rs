use super::{Mlp, assert_close, device, input, values};
use steadygrad_burn::gradient_stats;

include!("../../../../steadygrad/src/remedy/snippets/critical_init.rs");

/// `std * sqrt(fan_in)`, with the standard deviation taken about zero.
fn gain(weight: &Param<Tensor<2>>) -> f64 {
    let [fan_in, fan_out] = weight.dims();
    let squares: f64 = values(weight.val()).iter().map(|w| f64::from(w * w)).sum();
    (squares / (fan_in * fan_out) as f64).sqrt() * (fan_in as f64).sqrt()
}

#[test]
fn a_feed_forward_network_gets_its_gains() {
    let mut model = Mlp::new(4, &device());
    let [first, repeated @ ..] = &mut model.hidden[..] else {
        unreachable!()
    };
    critical_init(
        repeated.iter_mut().map(|layer| &mut layer.weight),
        Some(&mut first.weight),
        Some(&mut model.output.weight),
    );
    assert_close(gain(&model.hidden[0].weight), GAIN / INPUT_RMS);
    for layer in &model.hidden[1..] {
        assert_close(gain(&layer.weight), GAIN);
    }
    assert_close(gain(&model.output.weight), 1.0);

    let loss = model.loss(input(INPUT_RMS, &device()));
    let grads = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
    // Every weight and bias still has a gradient.
    assert_eq!(gradient_stats(&model, &grads).tensors.len(), 10);
}

#[test]
fn a_recurrent_matrix_alone_and_a_zero_matrix() {
    let mut recurrent = Param::from_data([[1.0, -2.0], [0.5, 4.0]], &device());
    let mut zero = Param::from_data([[0.0, 0.0], [0.0, 0.0]], &device());
    critical_init([&mut recurrent, &mut zero], None, None);
    assert_close(gain(&recurrent), GAIN);
    assert_eq!(values(zero.val()), [0.0; 4]);
}
