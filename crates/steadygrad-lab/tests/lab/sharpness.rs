//! Compares the measured sharpness with known Hessians. Linear regressions have `2 / n X^T X`;
//! small networks have a dense Hessian from an independent f64 implementation.

#![allow(
    clippy::print_stdout,
    reason = "each error is worth seeing beside its bar: run with --nocapture"
)]

mod dense;
mod descent;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use steadygrad::cure::Goal;
use steadygrad::dynamics::Activation;
use steadygrad_lab::{Rng, Structure, Subject, Summary, Tape, sharpness};

#[derive(Module, Debug)]
struct Line {
    layer: Linear,
}

/// `loss = mean (x w [+ b] - y)^2`.
struct Regression {
    inputs: Vec<Vec<f32>>,
    bias: bool,
}

impl Regression {
    fn new(inputs: &[&[f32]], bias: bool) -> Self {
        Self {
            inputs: inputs.iter().map(|row| row.to_vec()).collect(),
            bias,
        }
    }

    fn device() -> Device {
        Device::flex().autodiff()
    }

    /// The largest eigenvalue of the Hessian of the first two parameters, `[[a, b], [b, c]]`.
    fn largest_eigenvalue(&self, rows: &[usize]) -> f64 {
        let (mut a, mut b, mut c) = (0.0, 0.0, 0.0);
        for row in rows {
            let input = &self.inputs[*row];
            let first = f64::from(input[0]);
            let second = if self.bias { 1.0 } else { f64::from(input[1]) };
            a += first * first;
            b += first * second;
            c += second * second;
        }
        let scale = 2.0 / rows.len() as f64;
        let (a, b, c) = (scale * a, scale * b, scale * c);
        (a + c) / 2.0 + ((a - c).powi(2) / 4.0 + b * b).sqrt()
    }

    fn measured(&self, rows: &[usize], seed: u64) -> Option<steadygrad::measurements::Sharpness> {
        sharpness(self, &self.model(), rows, seed)
    }

    fn model(&self) -> Line {
        let features = self.inputs[0].len();
        let weights: Vec<f32> = (0..features).map(|at| 0.7 - 1.1 * at as f32).collect();
        let device = Self::device();
        let mut layer = LinearConfig::new(features, 1)
            .with_bias(self.bias)
            .init(&device);
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [features, 1]), &device);
        layer.weight = burn::module::Param::from_tensor(weights);
        if self.bias {
            let bias = Tensor::<1>::from_data(TensorData::new(vec![0.3f32], [1]), &device);
            layer.bias = Some(burn::module::Param::from_tensor(bias));
        }
        Line { layer }
    }
}

impl Subject for Regression {
    type Model = Line;

    fn summary(&self) -> Summary {
        Summary {
            name: "line".into(),
            description: "a linear regression".into(),
            activation: Activation::Linear,
            depth: None,
            sequence_length: None,
            training_samples: self.inputs.len(),
            validation_samples: 0,
            metric: "none",
            goal: Goal {
                metric: 1.0,
                trivial: 0.0,
            },
        }
    }

    fn build(&self, _structure: &Structure, _rng: &mut dyn Rng, device: &Device) -> Line {
        let layer = LinearConfig::new(self.inputs[0].len(), 1).init(device);
        Line { layer }
    }

    fn loss(&self, model: &Line, rows: &[usize], _tape: &mut Tape) -> Tensor<1> {
        let columns = self.inputs[0].len();
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|row| self.inputs[*row].clone())
            .collect();
        let targets: Vec<f32> = rows.iter().map(|row| (*row as f32).cos()).collect();
        let device = Self::device();
        let input = Tensor::<2>::from_data(TensorData::new(values, [rows.len(), columns]), &device);
        let target = Tensor::<2>::from_data(TensorData::new(targets, [rows.len(), 1]), &device);
        (model.layer.forward(input) - target).square().mean()
    }

    fn validate(&self, _model: &Line) -> f64 {
        f64::NAN
    }

    fn input_rms(&self, _rows: &[usize]) -> f64 {
        1.0
    }
}

const INPUTS: [&[f32]; 5] = [
    &[1.0, 0.5],
    &[-2.0, 0.4],
    &[3.0, -1.0],
    &[0.5, 2.0],
    &[-4.0, 1.5],
];

#[track_caller]
fn assert_close(regression: &Regression, rows: &[usize]) {
    let truth = regression.largest_eigenvalue(rows);
    for seed in 0..3 {
        let sharpness = regression.measured(rows, seed).expect("finite");
        let error = (sharpness.lambda_max / truth - 1.0).abs();
        assert!(error < 0.01, "{} is not {truth}", sharpness.lambda_max);
        let bound = sharpness.relative_error();
        assert!(bound < 0.01 && error <= bound + 1e-3, "{error}, {bound}");
        assert!(sharpness.lambda_min <= sharpness.lambda_max);
    }
}

#[test]
fn the_sharpness_is_the_largest_eigenvalue_of_the_hessian() {
    assert_close(&Regression::new(&INPUTS, false), &[0, 1, 2, 3, 4]);
}

#[test]
fn the_sharpness_belongs_to_the_given_rows() {
    let regression = Regression::new(&INPUTS, false);
    let (some, all) = (
        regression.largest_eigenvalue(&[0, 3]),
        regression.largest_eigenvalue(&[0, 1, 2, 3, 4]),
    );
    assert!((some / all - 1.0).abs() > 0.1, "{some} and {all}");
    assert_close(&regression, &[0, 3]);
}

#[test]
fn parameters_are_taken_together() {
    // The Hessian's largest eigenvector has components in both the weight and the bias.
    let inputs: [&[f32]; 4] = [&[1.0], &[2.0], &[0.5], &[1.5]];
    assert_close(&Regression::new(&inputs, true), &[0, 1, 2, 3]);
}

#[test]
fn a_non_finite_loss_has_no_sharpness() {
    for odd in [f32::NAN, f32::INFINITY, f32::MAX] {
        let regression = Regression::new(&[&[1.0, odd], &[2.0, 1.0]], false);
        assert_eq!(regression.measured(&[0, 1], 1), None, "{odd}");
        // Only the odd row is non-finite.
        assert!(regression.measured(&[1], 1).is_some());
    }
}

#[test]
fn a_flat_loss_has_no_sharpness() {
    let regression = Regression::new(&[&[0.0, 0.0], &[0.0, 0.0]], false);
    assert_eq!(regression.measured(&[0, 1], 1), None);
}
