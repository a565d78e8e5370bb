//! The prescribed Burn code compiles as it is pasted, and does what its remedy says.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use steadygrad::TensorStats;
use steadygrad::cure::Prescription;
use steadygrad::remedy::Remedy;

fn assert_prescribed(remedy: Remedy, file: &str, tested: &str) {
    let prescribed = Prescription::new("x".into(), &remedy, None).burn;
    assert!(
        prescribed == tested,
        "prescribed/{file} differs from the code that is prescribed now:\n{prescribed}"
    );
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().iter::<f32>().collect()
}

fn l2<const D: usize>(tensor: Tensor<D>) -> f64 {
    TensorStats::of(&values(tensor)).tensor_norm
}

fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-5 * b.abs(), "{a} is not {b}");
}

#[derive(Module, Debug)]
struct Mlp {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Mlp {
    fn new(depth: usize, device: &Device) -> Self {
        device.seed(7);
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            hidden: (0..depth)
                .map(|index| linear(if index == 0 { 3 } else { 8 }, 8))
                .collect(),
            output: linear(8, 2),
        }
    }

    fn loss(&self, input: Tensor<2>) -> Tensor<1> {
        let last = self
            .hidden
            .iter()
            .fold(input, |before, layer| layer.forward(before).tanh());
        self.output.forward(last).square().mean()
    }
}

fn input(size: f64, device: &Device) -> Tensor<2> {
    Tensor::random([16, 3], Distribution::Normal(0.0, size), device)
}

mod clip_global_norm {
    use super::{Mlp, assert_close, assert_prescribed, device, input};
    use burn::optim::SgdConfig;
    use steadygrad_burn::{gradient_stats, gradient_values, scale_gradients, weight_norms};

    include!("prescribed/clip_global_norm.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::ClipGlobalNorm { max_norm: 2.5 },
            "clip_global_norm.rs",
            include_str!("prescribed/clip_global_norm.rs"),
        );
    }

    fn gradients(model: &Mlp, norm: f64) -> GradientsParams {
        let loss = model.loss(input(1.0, &device()));
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        let now = gradient_stats(model, &gradients).global_norm();
        scale_gradients(model, gradients, norm / now)
    }

    #[test]
    fn a_larger_norm_is_scaled_to_the_bound_and_keeps_its_direction() {
        let model = Mlp::new(3, &device());
        // The squares of 1e30 overflow f32.
        for norm in [2.6, 40.0, 1e30] {
            let grads = gradients(&model, norm);
            let before = gradient_values(&model, &grads).concat();
            let grads = clip_global_norm(&model, grads);
            assert_close(gradient_stats(&model, &grads).global_norm(), MAX_NORM);
            for (before, after) in before.iter().zip(gradient_values(&model, &grads).concat()) {
                assert!((f64::from(*before) / norm - f64::from(after) / MAX_NORM).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_smaller_norm_and_a_broken_gradient_stay_as_they_are() {
        let model = Mlp::new(3, &device());
        for norm in [0.0, 1.0, 2.4999, f64::NAN, f64::INFINITY] {
            let grads = gradients(&model, norm);
            let bits = |grads: &GradientsParams| -> Vec<u32> {
                gradient_values(&model, grads)
                    .concat()
                    .into_iter()
                    .map(f32::to_bits)
                    .collect()
            };
            let before = bits(&grads);
            assert_eq!(
                bits(&clip_global_norm(&model, grads)),
                before,
                "norm {norm}"
            );
        }
    }

    #[test]
    fn the_optimizer_takes_the_clipped_gradients() {
        let model = Mlp::new(3, &device());
        let before = weight_norms(&model);
        let grads = gradients(&model, 40.0);
        let grads = clip_global_norm(&model, grads);
        let model = SgdConfig::new().init().step(0.1, model, grads);
        assert_ne!(weight_norms(&model), before);
    }
}

mod cap_spectral_norm {
    use super::{LinearConfig, assert_close, assert_prescribed, device, l2, values};
    use burn::optim::{GradientsParams, SgdConfig};
    use steadygrad::dynamics::SpectralNorm;

    include!("prescribed/cap_spectral_norm.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::CapSpectralNorm {
                max_spectral_norm: 4.0 / 3.0,
            },
            "cap_spectral_norm.rs",
            include_str!("prescribed/cap_spectral_norm.rs"),
        );
    }

    fn weight(rows: [[f32; 3]; 2]) -> Param<Tensor<2>> {
        Param::from_data(rows, &device())
    }

    fn spectral_norm(weight: &Param<Tensor<2>>) -> f64 {
        SpectralNorm::new(weight.dims()[1]).estimate(&values(weight.val()), 200)
    }

    #[test]
    fn only_a_larger_matrix_is_scaled() {
        // Singular values 5 and 1; the second has row sums of zero.
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
}

mod critical_init {
    use super::{Mlp, assert_close, assert_prescribed, device, input, values};
    use steadygrad_burn::gradient_stats;

    include!("prescribed/critical_init.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        let gain = std::f64::consts::SQRT_2;
        assert_prescribed(
            steadygrad::remedy::Remedy::CriticalInit {
                gain,
                input_rms: 7.5,
            },
            "critical_init.rs",
            include_str!("prescribed/critical_init.rs"),
        );
    }

    /// `std * sqrt(fan_in)`, the standard deviation about zero.
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
}

mod scale_residual {
    use super::{assert_prescribed, device, values};

    include!("prescribed/scale_residual.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::ScaleResidual { scale: 0.25 },
            "scale_residual.rs",
            include_str!("prescribed/scale_residual.rs"),
        );
    }

    #[test]
    fn a_quarter_of_what_the_block_adds_remains() {
        let input = Tensor::<1>::from_data([1.0, -2.0, 0.0], &device());
        let output = Tensor::<1>::from_data([5.0, 2.0, f32::NAN], &device());
        let scaled = values(scale_residual(input, output));
        assert_eq!(scaled[..2], [2.0, -1.0]);
        assert!(scaled[2].is_nan());
    }
}

mod rms_norm {
    use super::{assert_close, assert_prescribed, device, values};
    use burn::tensor::Distribution;

    include!("prescribed/rms_norm.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::RmsNorm { every: 3 },
            "rms_norm.rs",
            include_str!("prescribed/rms_norm.rs"),
        );
    }

    #[test]
    fn every_third_layer_from_the_first_has_pre_activations_of_size_one() {
        let device = device();
        let before = Tensor::<2>::random([5, 64], Distribution::Normal(0.0, 1e4), &device);
        for index in 0..7 {
            let norm = layer_norm(index, 64, &device);
            let after = values(normalize(&norm, before.clone()));
            if [0, 3, 6].contains(&index) {
                for row in after.chunks_exact(64) {
                    let squares: f64 = row.iter().map(|z| f64::from(z * z)).sum();
                    assert_close((squares / 64.0).sqrt(), 1.0);
                }
            } else {
                assert_eq!(after, values(before.clone()));
            }
        }
    }
}

mod reduce_depth {
    use super::{Mlp, assert_prescribed, device, input};
    use burn::optim::GradientsParams;
    use steadygrad_burn::gradient_stats;

    include!("prescribed/reduce_depth.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::ReduceDepth { depth: 5 },
            "reduce_depth.rs",
            include_str!("prescribed/reduce_depth.rs"),
        );
    }

    #[test]
    fn five_layers_remain_and_train() {
        let mut model = Mlp::new(9, &device());
        reduce_depth(&mut model.hidden);
        assert_eq!(model.hidden.len(), 5);
        let loss = model.loss(input(1.0, &device()));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        // Weight and bias of five hidden layers and the output.
        assert_eq!(gradient_stats(&model, &grads).tensors.len(), 12);
    }
}

mod truncate_bptt {
    use super::{Param, assert_close, assert_prescribed, device, l2};

    include!("prescribed/truncate_bptt.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::TruncateBptt { time_steps: 4 },
            "truncate_bptt.rs",
            include_str!("prescribed/truncate_bptt.rs"),
        );
    }

    /// The L2 norm of a small recurrent network's last state, and the norm of its gradient with
    /// respect to the input of each time step. Without a gradient the norm is 0.
    fn run(steps: usize, truncated: bool) -> (f64, Vec<f64>) {
        let device = device();
        let recurrent = Param::from_data([[0.9, 0.4], [-0.4, 0.9]], &device);
        let inputs: Vec<Tensor<2>> = (0..steps)
            .map(|t| Tensor::from_data([[0.3, 0.1 * t as f32]], &device).require_grad())
            .collect();
        let mut state = Tensor::<2>::zeros([1, 2], &device);
        for (t, input) in inputs.iter().enumerate() {
            if truncated {
                state = truncate_bptt(state, t, steps);
            }
            state = (state.matmul(recurrent.val()) + input.clone()).tanh();
        }
        let grads = state.clone().square().sum().backward();
        let sizes = inputs
            .iter()
            .map(|input| input.grad(&grads).map_or(0.0, l2))
            .collect();
        (l2(state), sizes)
    }

    #[test]
    fn the_gradient_reaches_the_last_four_steps_only() {
        let (plain_state, plain) = run(10, false);
        let (state, sizes) = run(10, true);
        assert_eq!(state, plain_state);
        assert!(plain.iter().all(|size| *size > 0.0));
        assert_eq!(sizes[..6], [0.0; 6]);
        for (size, plain) in sizes[6..].iter().zip(&plain[6..]) {
            assert_close(*size, *plain);
        }
    }

    #[test]
    fn a_shorter_sequence_is_not_cut() {
        for steps in [1, 3, 4] {
            assert_eq!(run(steps, true), run(steps, false));
        }
    }
}

mod lower_learning_rate {
    use super::{LinearConfig, assert_close, assert_prescribed, device, l2};
    use burn::optim::{GradientsParams, SgdConfig};

    include!("prescribed/lower_learning_rate.rs");

    #[test]
    fn the_file_is_the_prescribed_code() {
        assert_prescribed(
            steadygrad::remedy::Remedy::LowerLearningRate {
                learning_rate: 1.25e-5,
            },
            "lower_learning_rate.rs",
            include_str!("prescribed/lower_learning_rate.rs"),
        );
    }

    #[test]
    fn the_optimizer_steps_by_this_rate() {
        let mut model = LinearConfig::new(2, 2).init(&device());
        let mut optimizer = SgdConfig::new().init();
        let before = model.weight.val().inner();
        // The gradient of the sum is 1 everywhere, times 1000.
        let loss = model.weight.val().sum() * 1000.0;
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(LEARNING_RATE, model, grads);
        let moved = l2(model.weight.val().inner() - before);
        assert_close(moved, 4f64.sqrt() * 1000.0 * 1.25e-5);
    }
}
