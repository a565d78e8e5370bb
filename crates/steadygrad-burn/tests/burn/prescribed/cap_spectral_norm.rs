use super::{LinearConfig, assert_close, device, l2, values};
use burn::optim::{GradientsParams, SgdConfig};
use steadygrad::dynamics::SpectralNorm;

include!("../../../../steadygrad/src/remedy/snippets/cap_spectral_norm.rs");

fn weight(rows: [[f32; 3]; 2]) -> Param<Tensor<2>> {
    Param::from_data(rows, &device())
}

fn spectral_norm(weight: &Param<Tensor<2>>) -> f64 {
    SpectralNorm::new(weight.dims()[1]).estimate(&values(weight.val()), 200)
}

#[test]
fn only_a_larger_matrix_is_scaled() {
    // Both matrices have the singular values 5 and 1. The second has row sums of zero.
    for rows in [
        [[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]],
        [[4.0, -4.0, 0.0], [0.0, 0.0, 0.0]],
    ] {
        let mut large = weight(rows);
        let (before, size) = (large.val(), spectral_norm(&large));
        cap_spectral_norm(&mut large, &mut None);
        assert_close(spectral_norm(&large), MAX_SPECTRAL_NORM);
        assert!(large.is_require_grad());
        let expected = before.inner() * (MAX_SPECTRAL_NORM / size);
        assert!(l2(large.val().inner() - expected) < 1e-5);
    }
    for quiet in [0.1, 0.0, f32::NAN] {
        let rows = [[quiet, 0.0, 0.0], [0.0, quiet, 0.0]];
        let mut small = weight(rows);
        cap_spectral_norm(&mut small, &mut None);
        assert_eq!(
            format!("{:?}", values(small.val())),
            format!("{:?}", rows.concat())
        );
    }
}

#[test]
fn a_matrix_that_starts_at_zero_is_capped_once_it_grows() {
    let mut direction = None;
    cap_spectral_norm(&mut weight([[0.0; 3]; 2]), &mut direction);
    let mut grown = weight([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]]);
    cap_spectral_norm(&mut grown, &mut direction);
    assert_close(spectral_norm(&grown), MAX_SPECTRAL_NORM);
}

#[test]
fn one_iteration_a_step_holds_the_cap_while_training() {
    let device = device();
    device.seed(3);
    let mut layer = LinearConfig::new(6, 6).init(&device);
    let mut optimizer = SgdConfig::new().init();
    let mut direction = None;
    let mut capped = 0;
    for step in 0..200 {
        let target = Tensor::<2>::eye(6, &device) * (2.0 + 0.01 * f64::from(step));
        let loss = (layer.weight.val() - target).square().sum();
        let grads = GradientsParams::from_grads(loss.backward(), &layer);
        layer = optimizer.step(0.02, layer, grads);
        capped += u32::from(spectral_norm(&layer.weight) > MAX_SPECTRAL_NORM);
        cap_spectral_norm(&mut layer.weight, &mut direction);
        assert!(
            spectral_norm(&layer.weight) < 1.01 * MAX_SPECTRAL_NORM,
            "step {step}"
        );
    }
    assert!(capped > 100, "the cap acted at {capped} steps");
}
