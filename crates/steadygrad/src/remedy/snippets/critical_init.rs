// Once, on the untrained model. A recurrent network gives its recurrent matrix as `repeated`, and
// `None` for the other two.
use burn::module::Param;
use burn::tensor::Tensor;

const GAIN: f64 = std::f64::consts::SQRT_2;
const INPUT_RMS: f64 = 7.5;

fn critical_init<'a>(
    repeated: impl IntoIterator<Item = &'a mut Param<Tensor<2>>>,
    first: Option<&mut Param<Tensor<2>>>,
    output: Option<&mut Param<Tensor<2>>>,
) {
    for weight in repeated {
        set_gain(weight, GAIN);
    }
    if let Some(weight) = first {
        set_gain(weight, GAIN / INPUT_RMS);
    }
    if let Some(weight) = output {
        set_gain(weight, 1.0);
    }
}

/// Scales a weight of shape `[fan_in, fan_out]` to the standard deviation `gain / sqrt(fan_in)`.
fn set_gain(weight: &mut Param<Tensor<2>>, gain: f64) {
    let norm: f64 = weight.val().square().sum().sqrt().into_scalar();
    let scale = gain * (weight.dims()[1] as f64).sqrt() / norm;
    if scale.is_finite() {
        let scaled = |w: Tensor<2>| (w.set_require_grad(false) * scale).require_grad();
        *weight = weight.clone().map(scaled);
    }
}
