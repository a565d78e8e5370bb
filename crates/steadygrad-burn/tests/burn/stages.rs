//! Compares the Jacobians of Burn models with closed forms and central differences.

use burn::module::Param;
use burn::nn::conv::Conv2dConfig;
use burn::tensor::activation::{relu, tanh};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use steadygrad::dynamics::{
    Block, DynamicsError, JacobianProduct, LayerJacobian, LyapunovSettings, LyapunovSpectrum,
    ProductSettings, TangentSystem, jacobians,
};
use steadygrad_burn::{BackwardProduct, Stages};

fn matrix(rows: usize, cols: usize, scale: f32, seed: u64, device: &Device) -> Tensor<2> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..rows * cols)
        .map(|_| rng.random_range(-scale..scale))
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, cols]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
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
    let network = |x: Tensor<2>| tanh(tanh(x.matmul(first.clone())).matmul(second.clone()));
    assert_jacobian(&block, input, network);
}

/// Compares a transposed Jacobian with central differences of the whole network.
fn assert_jacobian<const I: usize, const O: usize>(
    transposed: &Block,
    input: Tensor<I>,
    network: impl Fn(Tensor<I>) -> Tensor<O>,
) {
    let (shape, device) = (input.dims(), input.device());
    let dtype = input.dtype();
    // Truncation and rounding errors of the differences are about equal at this step.
    let (h, tolerance) = if dtype == DType::F64 {
        (1e-5, 1e-8)
    } else {
        (1e-3, 2e-3)
    };
    let start = values(input);
    assert_eq!(transposed.rows(), start.len());
    for i in 0..start.len() {
        let moved = |change: f64| {
            let mut at = start.clone();
            at[i] += change;
            let at = Tensor::from_data(TensorData::new(at, shape), (&device, dtype));
            values(network(at))
        };
        let (ahead, behind) = (moved(h), moved(-h));
        assert_eq!(transposed.cols(), ahead.len());
        for (j, column) in transposed.columns().enumerate() {
            let (found, slope) = (column[i], (ahead[j] - behind[j]) / (2.0 * h));
            assert!(
                (found - slope).abs() < tolerance,
                "{i} {j}: {found} {slope}"
            );
        }
    }
}

/// Computes the transposed Jacobian of the whole network by a backward pass on every unit vector of
/// the output.
fn transposed_jacobian(mut backward: BackwardProduct<'_, '_>) -> Block {
    let width = backward.dim();
    let mut block = Block::zeros(width, width);
    (0..width).for_each(|j| block.values_mut()[(width + 1) * j] = 1.0);
    while backward.remaining() != Some(0) {
        backward.step(&mut block).unwrap();
    }
    block
}

/// The singular values of a small matrix, largest first, by one-sided Jacobi rotations of its
/// columns.
fn singular_values(matrix: &Block) -> Vec<f64> {
    let mut columns: Vec<Vec<f64>> = matrix.columns().map(<[f64]>::to_vec).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..60 {
        for p in 0..columns.len() {
            for q in p + 1..columns.len() {
                let (a, b) = (columns[p].clone(), columns[q].clone());
                let (alpha, beta, gamma) = (dot(&a, &a), dot(&b, &b), dot(&a, &b));
                let angle = 0.5 * (2.0 * gamma).atan2(alpha - beta);
                let (sin, cos) = angle.sin_cos();
                for (row, (a, b)) in a.iter().zip(&b).enumerate() {
                    columns[p][row] = cos * a + sin * b;
                    columns[q][row] = cos * b - sin * a;
                }
            }
        }
    }
    let mut all: Vec<f64> = columns
        .iter()
        .map(|column| dot(column, column).sqrt())
        .collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all
}

/// Compares the product's singular values with those of the explicit Jacobian.
fn assert_singular_values<const I: usize, const O: usize>(
    stages: &Stages<'_, I, O>,
    input: Tensor<I>,
    narrowest: usize,
) {
    let backward = stages.linearize(input.clone()).unwrap();
    assert_eq!(backward.width(), narrowest);
    let exact = singular_values(&transposed_jacobian(backward));
    let settings = ProductSettings::default();
    let mut backward = stages.linearize(input.clone()).unwrap();
    let in_one_pass = JacobianProduct::measure(&mut backward, settings).unwrap();
    let factors = jacobians(&mut stages.linearize(input).unwrap()).unwrap();
    let of_factors = JacobianProduct::of_factors(&factors, settings).unwrap();
    for product in [in_one_pass, of_factors] {
        assert_eq!(product.log_singular_values.len(), narrowest);
        for (log, exact) in product.log_singular_values.iter().zip(&exact) {
            assert!((log - exact.ln()).abs() < 1e-4, "{log} {exact}");
        }
    }
}

#[test]
fn layers_that_change_the_width() {
    let device = Device::flex().autodiff();
    for widths in [[3, 8, 8], [8, 8, 3], [6, 2, 6], [2, 6, 2]] {
        let layers: Vec<Tensor<2>> = widths
            .windows(2)
            .zip(1..)
            .map(|(pair, seed)| matrix(pair[0], pair[1], 1.0, seed, &device).cast(DType::F64))
            .collect();
        let mut stages = Stages::new();
        for (l, layer) in layers.iter().enumerate() {
            stages = stages.stage(format!("hidden.{l}"), |x: Tensor<2>| {
                tanh(x.matmul(layer.clone()))
            });
        }
        let input = matrix(1, widths[0], 0.5, 9, &device).cast(DType::F64);
        let network = |x: Tensor<2>| {
            let layers = layers.iter();
            layers.fold(x, |x, layer| tanh(x.matmul(layer.clone())))
        };
        let backward = stages.linearize(input.clone()).unwrap();
        assert_jacobian(&transposed_jacobian(backward), input.clone(), network);
        let narrowest = widths.into_iter().min().unwrap();
        assert_singular_values(&stages, input, narrowest);
    }
}

#[test]
fn a_sequence_of_rank_3() {
    let device = Device::flex().autodiff();
    let mix = matrix(5, 3, 1.0, 1, &device).cast(DType::F64);
    let inner = matrix(4, 6, 1.0, 2, &device).cast(DType::F64);
    // `[batch, time 5, features 4]`, then `[batch, time 3, features 6]`, then `[batch, 18]`.
    let features = |x: Tensor<3>| tanh(x.matmul(inner.clone().unsqueeze()));
    let times = |x: Tensor<3>| {
        let mixed = x.swap_dims(1, 2).matmul(mix.clone().unsqueeze());
        tanh(mixed.swap_dims(1, 2))
    };
    let stages = Stages::new()
        .stage("features", features)
        .stage("times", times)
        .stage("flat", |x: Tensor<3>| x.flatten::<2>(1, 2));
    let input = matrix(1, 20, 0.5, 3, &device).cast(DType::F64);
    let input: Tensor<3> = input.reshape([1, 5, 4]);
    let backward = stages.linearize(input.clone()).unwrap();
    assert_eq!((backward.dim(), backward.width()), (18, 18));
    let jacobian = transposed_jacobian(backward);
    assert_jacobian(&jacobian, input, |x| times(features(x)));
}

#[test]
fn a_convolutional_network() {
    let device = Device::flex().autodiff();
    // The weights have their own seeds, because all tests share the device's generator.
    let mut first = Conv2dConfig::new([2, 3], [3, 3])
        .with_bias(false)
        .init(&device);
    first.weight = Param::from_tensor(matrix(3, 18, 0.5, 1, &device).reshape([3, 2, 3, 3]));
    let mut second = Conv2dConfig::new([3, 1], [2, 2])
        .with_stride([2, 2])
        .with_bias(false)
        .init(&device);
    second.weight = Param::from_tensor(matrix(1, 12, 0.5, 2, &device).reshape([1, 3, 2, 2]));
    // `[batch, 2, 6, 6]`, then `[batch, 3, 4, 4]`, then `[batch, 1, 2, 2]`, then `[batch, 4]`.
    let stages = Stages::new()
        .stage("first", |x| tanh(first.forward(x)))
        .stage("second", |x| tanh(second.forward(x)))
        .stage("flat", |x: Tensor<4>| x.flatten::<2>(1, 3));
    let input: Tensor<4> = matrix(1, 72, 1.0, 3, &device).reshape([1, 2, 6, 6]);
    let backward = stages.linearize(input.clone()).unwrap();
    assert_eq!((backward.dim(), backward.width()), (4, 4));
    let jacobian = transposed_jacobian(backward);
    let network = |x| tanh(second.forward(tanh(first.forward(x))));
    assert_jacobian(&jacobian, input.clone(), network);
    assert_singular_values(&stages, input, 4);
}

#[test]
fn a_state_of_rank_1_has_one_unit() {
    let device = Device::flex().autodiff();
    let stages = Stages::new().stage("sum", |x: Tensor<3>| {
        x.sum_dim(2).sum_dim(1).flatten::<1>(0, 2) * 3.0
    });
    let input = Tensor::<3>::ones([1, 2, 2], &device);
    let backward = stages.linearize(input).unwrap();
    assert_eq!(backward.dim(), 1);
    assert_eq!(transposed_jacobian(backward).values(), [3.0; 4]);
}

#[test]
fn a_deep_linear_network_is_exact() {
    // Rotations times a gain make all directions grow by the same factor.
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
    // A dead layer passes no gradient.
    let dead = Stages::new().stage("dead", |x: Tensor<2>| relu(x - 10.0));
    let mut backward = dead.linearize(Tensor::ones([1, 2], &device)).unwrap();
    let found = JacobianProduct::measure(&mut backward, ProductSettings::default());
    assert!(matches!(
        found,
        Err(DynamicsError::RankDeficient { rank: 0, .. })
    ));
    // Without stages, any step is one too many.
    let none: Stages = Stages::new();
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

/// Measures the growth of three rotations by 0.4 with a gain of 1.5, in this number type.
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
    // The gain is rounded three times, each by one unit in the last place. The product rounds too.
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
fn an_error_names_rows_that_do_not_fit() {
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
    // This stage returns one row for one row, but also one row for many.
    let mean = Stages::new().stage("mean", |x: Tensor<2>| x.mean_dim(0));
    let mut backward = mean.linearize(one()).unwrap();
    let done = backward.step(&mut Block::zeros(3, 2));
    assert_eq!(done.err(), wrong(1, [1, 3], [2, 3]));
    // The block and the output have different widths.
    let same = Stages::new().stage("same", |x: Tensor<2>| x);
    let mut backward = same.linearize(one()).unwrap();
    let done = backward.step(&mut Block::zeros(2, 1));
    assert_eq!(done.err(), wrong(1, [1, 2], [1, 3]));
}
