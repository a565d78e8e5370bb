// Before the first step and after each optimizer step, for every repeated weight matrix. Without
// the first call, the first step may explode. `direction` starts as `None`. Keep one a matrix from
// step to step: the singular vector moves little, so one iteration follows it.
use burn::module::Param;
use burn::tensor::{Int, Tensor};

const MAX_SPECTRAL_NORM: f64 = 1.3333333333333333;

fn cap_spectral_norm(weight: &mut Param<Tensor<2>>, direction: &mut Option<Tensor<2>>) {
    let w = weight.val().inner();
    let (iterations, mut v) = match direction.take() {
        Some(v) => (1, v),
        None => {
            let start = Tensor::<1, Int>::arange(1..w.dims()[1] as i64 + 1, &w.device());
            (30, start.float().sin().unsqueeze_dim(1))
        }
    };
    for _ in 0..iterations {
        v = w.clone().transpose().matmul(w.clone().matmul(v));
        v = v.clone() / v.square().sum().sqrt().unsqueeze();
    }
    let norm: f64 = w.matmul(v.clone()).square().sum().sqrt().into_scalar();
    *direction = (norm > 0.0).then_some(v);
    if norm > MAX_SPECTRAL_NORM {
        let scale = MAX_SPECTRAL_NORM / norm;
        let scaled = |w: Tensor<2>| (w.set_require_grad(false) * scale).require_grad();
        *weight = weight.clone().map(scaled);
    }
}
