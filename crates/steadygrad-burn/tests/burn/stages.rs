//! A Burn model's Jacobians against closed forms and central differences.

use burn::tensor::activation::{relu, tanh};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use steadygrad::dynamics::{
    Block, DynamicsError, JacobianProduct, LayerJacobian, LyapunovSettings, LyapunovSpectrum,
    ProductSettings, TangentSystem, jacobians,
};
use steadygrad_burn::Stages;

fn matrix(rows: usize, cols: usize, scale: f32, seed: u64, device: &Device) -> Tensor<2> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..rows * cols)
        .map(|_| rng.random_range(-scale..scale))
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, cols]), device)
}

fn values(tensor: Tensor<2>) -> Vec<f64> {
    tensor.inner().into_data().iter::<f64>().collect()
}

#[test]
fn a_backward_pass_is_the_transposed_jacobian() {
    let device = Device::flex().autodiff();
    let (first, second) = (matrix(4, 6, 1.0, 1, &device), matrix(6, 3, 1.0, 2, &device));
    let stages = Stages::new()
        .stage("a", |x: Tensor<2>| tanh(x.matmul(first.clone())))
        .stage("b", |x: Tensor<2>| tanh(x.matmul(second.clone())));
    let input = matrix(1, 4, 0.5, 3, &device);
    let mut backward = stages.linearize(input.clone()).unwrap();
    assert_eq!((backward.dim(), backward.width()), (3, 3));
    let mut block = Block::zeros(3, 3);
    (0..3).for_each(|j| block.values_mut()[4 * j] = 1.0);
    backward.step(&mut block).unwrap();
    backward.step(&mut block).unwrap();
    assert_eq!((block.rows(), backward.remaining()), (4, Some(0)));
    // Brute force: central differences of the whole network.
    let network = |x: Tensor<2>| tanh(tanh(x.matmul(first.clone())).matmul(second.clone()));
    let h = 1e-3;
    for i in 0..4 {
        let nudge = |sign: f32| {
            let mut at: Vec<f32> = values(input.clone()).iter().map(|v| *v as f32).collect();
            at[i] += sign * h;
            values(network(Tensor::from_data(
                TensorData::new(at, [1, 4]),
                &device,
            )))
        };
        let (ahead, behind) = (nudge(1.0), nudge(-1.0));
        for j in 0..3 {
            let slope = (ahead[j] - behind[j]) / (2.0 * f64::from(h));
            let found = block.values()[4 * j + i];
            assert!((found - slope).abs() < 2e-3, "{i} {j}: {found} {slope}");
        }
    }
}

#[test]
fn a_deep_linear_network_is_exact() {
    // Rotations times a gain: every direction grows alike.
    let device = Device::flex().autodiff();
    let (sin, cos) = 0.4f32.sin_cos();
    let gain = 1.5;
    let rotation = [gain * cos, gain * sin, -gain * sin, gain * cos].to_vec();
    let weight = Tensor::<2>::from_data(TensorData::new(rotation, [2, 2]), &device);
    let mut stages = Stages::new();
    for l in 0..40 {
        let weight = weight.clone();
        stages = stages.stage(format!("linear.{l}"), move |x: Tensor<2>| {
            x.matmul(weight.clone())
        });
    }
    let input = || Tensor::<2>::ones([1, 2], &device);
    let product = JacobianProduct::measure(
        &mut stages.linearize(input()).unwrap(),
        ProductSettings::default(),
    )
    .unwrap();
    let expected = 40.0 * f64::from(gain).ln();
    for log in &product.log_singular_values {
        assert!((log - expected).abs() < 1e-4, "{log} {expected}");
    }
    let layers = jacobians(&mut stages.linearize(input()).unwrap()).unwrap();
    assert_eq!(layers.len(), 40);
    assert!(layers.iter().all(|jacobian| {
        let layer = LayerJacobian::of(jacobian);
        (layer.log_largest() - f64::from(gain).ln()).abs() < 1e-5
    }));
    let spectrum = LyapunovSpectrum::measure(
        &mut stages.linearize(input()).unwrap(),
        LyapunovSettings::default(),
    )
    .unwrap();
    assert!((spectrum.exponents[1].value - f64::from(gain).ln()).abs() < 1e-5);
}

#[test]
fn odd_stages() {
    let device = Device::flex().autodiff();
    let huge = Tensor::<2>::full([2, 2], 1e30, &device);
    let stages = Stages::new()
        .stage("fine", |x: Tensor<2>| x)
        .stage("overflows", |x: Tensor<2>| {
            x.matmul(huge.clone()).powi_scalar(2)
        });
    let broken = stages.linearize(Tensor::ones([1, 2], &device)).err();
    let what = "state";
    assert_eq!(broken, Some(DynamicsError::NonFinite { what, step: 2 }));
    let bad = Tensor::<2>::full([1, 2], f32::NAN, &device);
    let broken = Stages::new().linearize(bad).err();
    assert_eq!(broken, Some(DynamicsError::NonFinite { what, step: 0 }));
    // A dead layer.
    let dead = Stages::new().stage("dead", |x: Tensor<2>| relu(x - 10.0));
    let mut backward = dead.linearize(Tensor::ones([1, 2], &device)).unwrap();
    let found = JacobianProduct::measure(&mut backward, ProductSettings::default());
    assert!(matches!(
        found,
        Err(DynamicsError::RankDeficient { rank: 0, .. })
    ));
    // No stages, and one step too many.
    let none = Stages::new();
    let mut backward = none.linearize(Tensor::ones([1, 2], &device)).unwrap();
    assert!(backward.step(&mut Block::zeros(2, 1)).is_err());
    assert!(JacobianProduct::measure(&mut backward, ProductSettings::default()).is_err());
    // A stage that ignores its input passes nothing back.
    let constant = Stages::new().stage("constant", |x: Tensor<2>| x.zeros_like());
    let mut backward = constant.linearize(Tensor::ones([1, 2], &device)).unwrap();
    let mut block = Block::from_columns(2, 1, vec![1.0, 1.0]).unwrap();
    backward.step(&mut block).unwrap();
    assert_eq!(block.values(), [0.0, 0.0]);
}

/// A rotation by 0.4 times a gain of 1.5, thrice, in this number type.
fn log_growth(dtype: DType) -> Vec<f64> {
    let device = Device::flex().autodiff();
    let (sin, cos) = 0.4f64.sin_cos();
    let rotation = [cos, sin, -sin, cos].map(|value| 1.5 * value).to_vec();
    let weight = Tensor::<2>::from_data(TensorData::new(rotation, [2, 2]), (&device, dtype));
    let mut stages = Stages::new();
    for _ in 0..3 {
        stages = stages.stage("linear", |x: Tensor<2>| x.matmul(weight.clone()));
    }
    let input = Tensor::<2>::from_data(TensorData::new(vec![1.0; 2], [1, 2]), (&device, dtype));
    let mut backward = stages.linearize(input).unwrap();
    JacobianProduct::measure(&mut backward, ProductSettings::default())
        .unwrap()
        .log_singular_values
}

#[test]
fn a_model_in_any_number_type_has_the_digits_of_its_type() {
    // Three roundings of the gain, of a unit in the last place each, and the product's own.
    for (dtype, digits) in [
        (DType::F64, 1e-15),
        (DType::F32, 1e-7),
        (DType::F16, 1e-3),
        (DType::BF16, 8e-3),
    ] {
        for log in log_growth(dtype) {
            let error = (log - 3.0 * 1.5f64.ln()).abs();
            assert!(error < 6.0 * digits, "{dtype:?}: {error}");
        }
    }
}

#[test]
fn a_stage_may_change_the_number_type() {
    let device = Device::flex().autodiff();
    let stages = Stages::new()
        .stage("doubled", |x: Tensor<2>| x * 2.0)
        .stage("in f64", |x: Tensor<2>| x.cast(DType::F64) * 3.0);
    let mut backward = stages.linearize(Tensor::ones([1, 2], &device)).unwrap();
    let mut block = Block::from_columns(2, 1, vec![1.0, -1.0]).unwrap();
    backward.step(&mut block).unwrap();
    backward.step(&mut block).unwrap();
    assert_eq!(block.values(), [6.0, -6.0]);
}

#[test]
fn rows_that_do_not_fit_are_told() {
    let device = Device::flex().autodiff();
    let wrong = |step, found, expected| {
        Some(DynamicsError::StateShape {
            step,
            found,
            expected,
        })
    };
    let none = Stages::new();
    for rows in [0, 2] {
        let batch = Tensor::<2>::zeros([rows, 3], &device);
        assert_eq!(none.linearize(batch).err(), wrong(0, [rows, 3], [1, 3]));
    }
    let one = || Tensor::<2>::ones([1, 3], &device);
    let doubling = Stages::new().stage("doubles", |x: Tensor<2>| x.repeat_dim(0, 2));
    assert_eq!(doubling.linearize(one()).err(), wrong(1, [2, 3], [1, 3]));
    // One row of one, but also one row of many.
    let mean = Stages::new().stage("mean", |x: Tensor<2>| x.mean_dim(0));
    let mut backward = mean.linearize(one()).unwrap();
    let done = backward.step(&mut Block::zeros(3, 2));
    assert_eq!(done.err(), wrong(1, [1, 3], [2, 3]));
    // A block of another width than the output's.
    let same = Stages::new().stage("same", |x: Tensor<2>| x);
    let mut backward = same.linearize(one()).unwrap();
    let done = backward.step(&mut Block::zeros(2, 1));
    assert_eq!(done.err(), wrong(1, [1, 2], [1, 3]));
}
