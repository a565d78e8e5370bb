//! Dense Hessians in f64 from second differences of a loss. The loss is written out here, without
//! Burn, gradients or Lanczos iteration.

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use steadygrad::dynamics::Activation;
use steadygrad_burn::for_each_parameter;
use steadygrad_lab::data::{Table, Target, TemporalOrder};
use steadygrad_lab::models::MlpConfig;
use steadygrad_lab::subjects::{TableMlp, TemporalOrderRnn};
use steadygrad_lab::{Structure, Subject, sharpness};

/// The smallest and largest eigenvalues of the Hessian of `loss` at `at`.
fn extremes(at: &[f64], loss: impl Fn(&[f64]) -> f64) -> (f64, f64) {
    // The truncation error h^2 and the round-off 1e-16 / h^2 are both about 1e-8.
    let (h, n) = (2e-4, at.len());
    let moved = |i: usize, a: f64, j: usize, b: f64| {
        let mut point = at.to_vec();
        point[i] += a;
        point[j] += b;
        loss(&point)
    };
    let mut hessian = faer::Mat::<f64>::zeros(n, n);
    for i in 0..n {
        for j in 0..=i {
            let mixed =
                moved(i, h, j, h) - moved(i, h, j, -h) - moved(i, -h, j, h) + moved(i, -h, j, -h);
            hessian[(i, j)] = mixed / (4.0 * h * h);
            hessian[(j, i)] = hessian[(i, j)];
        }
    }
    let values = hessian
        .self_adjoint_eigenvalues(faer::Side::Lower)
        .expect("converges");
    (values[0], values[n - 1])
}

fn parameters<M: burn::module::Module>(model: &M) -> Vec<f64> {
    let mut all = Vec::new();
    for_each_parameter(model, |_, values| {
        all.extend(values.iter().map(|value| f64::from(*value)));
    });
    all
}

/// Takes `[fan_in, fan_out]` weights and the biases from a flat list and applies them.
fn affine(list: &mut &[f64], input: &[f64], outputs: usize) -> Vec<f64> {
    let (matrix, rest) = list.split_at(input.len() * outputs);
    let (bias, rest) = rest.split_at(outputs);
    *list = rest;
    (0..outputs)
        .map(|o| {
            let sum: f64 = (0..input.len())
                .map(|i| input[i] * matrix[i * outputs + o])
                .sum();
            sum + bias[o]
        })
        .collect()
}

fn cross_entropy(logits: &[f64], class: usize) -> f64 {
    logits.iter().map(|logit| logit.exp()).sum::<f64>().ln() - logits[class]
}

#[test]
fn a_tanh_network_has_its_dense_hessians_sharpness() {
    let (rows, features, width) = (10, 3, 4);
    let mut data = ChaCha8Rng::seed_from_u64(9);
    let values: Vec<f32> = (0..rows * features)
        .map(|_| {
            let normal: f64 = StandardNormal.sample(&mut data);
            normal as f32
        })
        .collect();
    let table = Table {
        features,
        values: values.clone(),
        target: Target::Classes {
            rows: (0..rows).map(|row| row % 3).collect(),
            names: ["a", "b", "c"].map(String::from).to_vec(),
        },
        training: (0..rows).collect(),
        validation: vec![0],
    };
    let device = Device::flex().autodiff();
    for init_std in [0.3, 0.8, 1.5] {
        let config = MlpConfig {
            depth: 2,
            width,
            activation: Activation::Tanh,
            init_std,
        };
        let subject = TableMlp::new("t", "t", table.clone(), config, 1.0, device.clone());
        for seed in 0..3 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let model = subject.build(&Structure::default(), &mut rng, &device);
            let loss = |at: &[f64]| {
                let mean = (0..rows).map(|row| {
                    let mut list = at;
                    let mut state: Vec<f64> = values[row * features..][..features]
                        .iter()
                        .map(|value| f64::from(*value))
                        .collect();
                    for _ in 0..2 {
                        state = affine(&mut list, &state, width);
                        state.iter_mut().for_each(|value| *value = value.tanh());
                    }
                    cross_entropy(&affine(&mut list, &state, 3), row % 3)
                });
                mean.sum::<f64>() / rows as f64
            };
            let (smallest, largest) = extremes(&parameters(&model), loss);
            let all: Vec<usize> = (0..rows).collect();
            let found = sharpness(&subject, &model, &all, seed).expect("finite");
            let error = (found.lambda_max / largest - 1.0).abs();
            println!(
                "tanh, std {init_std}, seed {seed}: {largest:.6} found {} \
                 (relative error {error:.1e}, bound {:.1e}, {} products), \
                 smallest {smallest:.6} found {}",
                found.lambda_max,
                found.relative_error(),
                found.iterations,
                found.lambda_min
            );
            assert!(error < 0.01, "{} is not {largest}", found.lambda_max);
            assert!(error <= found.relative_error() + 1e-5);
            assert!(found.lambda_min >= smallest - 1e-4 * largest && found.lambda_min < 0.0);
        }
    }
}

#[test]
fn a_recurrent_network_has_its_dense_hessians_sharpness() {
    let (length, hidden, symbols, classes) =
        (10, 4, TemporalOrder::SYMBOLS, TemporalOrder::CLASSES);
    let data = TemporalOrder::generate(length, 20_000, 0);
    let device = Device::flex().autodiff();
    let rows: Vec<usize> = (0..6).collect();
    let subject = TemporalOrderRnn::new(length, hidden, 0.6, 1.0);
    for seed in 0..3 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let model = subject.build(&Structure::default(), &mut rng, &device);
        let loss = |at: &[f64]| {
            let (input, rest) = at.split_at(symbols * hidden);
            let (recurrent, rest) = rest.split_at(hidden * hidden);
            let (bias, rest) = rest.split_at(hidden);
            let mean = rows.iter().map(|row| {
                let mut state = vec![0.0; hidden];
                for symbol in data.sequence(*row) {
                    let before = |o: usize| {
                        let past: f64 = (0..hidden)
                            .map(|i| state[i] * recurrent[i * hidden + o])
                            .sum();
                        past + input[usize::from(*symbol) * hidden + o] + bias[o]
                    };
                    state = (0..hidden).map(|o| before(o).tanh()).collect();
                }
                let class = usize::from(data.classes[*row]);
                cross_entropy(&affine(&mut &*rest, &state, classes), class)
            });
            mean.sum::<f64>() / rows.len() as f64
        };
        let (_, largest) = extremes(&parameters(&model), loss);
        let found = sharpness(&subject, &model, &rows, seed).expect("finite");
        let error = (found.lambda_max / largest - 1.0).abs();
        println!(
            "rnn, seed {seed}: {largest:.6} found {} (relative error {error:.1e})",
            found.lambda_max
        );
        assert!(error < 0.01, "{} is not {largest}", found.lambda_max);
    }
}

/// Run it with `cargo test --release -p steadygrad-lab --test lab -- --ignored --nocapture
/// a_thousand_layers`.
#[test]
#[ignore = "a timing, and slow without optimisation"]
fn a_thousand_layers_take_two_seconds() {
    let device = Device::flex().autodiff();
    let table = Table {
        features: 64,
        values: vec![0.5; 64 * 32],
        target: Target::Classes {
            rows: (0..32).map(|row| row % 2).collect(),
            names: ["a", "b"].map(String::from).to_vec(),
        },
        training: (0..32).collect(),
        validation: vec![0],
    };
    let config = MlpConfig {
        depth: 1000,
        width: 100,
        activation: Activation::Tanh,
        init_std: 0.1,
    };
    let subject = TableMlp::new("deep", "made up", table, config, 1.0, device.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let model = subject.build(&Structure::default(), &mut rng, &device);
    let rows: Vec<usize> = (0..32).collect();
    let begin = std::time::Instant::now();
    let found = sharpness(&subject, &model, &rows, 1).expect("finite");
    let seconds = begin.elapsed().as_secs_f64();
    println!("{seconds:.2} s, {found:?}");
    assert!(found.lambda_max > 0.0 && seconds <= 2.0, "{seconds} s");
}
