#![allow(
    clippy::print_stdout,
    reason = "the study of the steps is worth seeing: run with --nocapture"
)]

use burn::tensor::Device;
use steadygrad::dynamics::Activation;

use super::*;
use crate::data::{Table, Target};
use crate::models::MlpConfig;
use crate::subjects::TableMlp;
use crate::{Structure, build};

/// A tanh network on 12 rows of made-up data with 3 features and 3 classes.
fn small(width: usize) -> TableMlp {
    let (rows, features) = (12, 3);
    let mut rng = generator(5, Purpose::Split);
    let values = crate::random::normal_values(rows * features, 1.0, &mut rng);
    let table = Table {
        features,
        values,
        target: Target::Classes {
            rows: (0..rows).map(|row| row % 3).collect(),
            names: ["a", "b", "c"].map(String::from).to_vec(),
        },
        training: (0..rows).collect(),
        validation: vec![0],
    };
    let config = MlpConfig {
        depth: 2,
        width,
        activation: Activation::Tanh,
        init_std: 0.8,
    };
    TableMlp::new(
        "small",
        "made up",
        table,
        config,
        1.0,
        Device::flex().autodiff(),
    )
}

fn built(subject: &TableMlp, seed: u64) -> crate::models::Mlp {
    let mut rng = generator(seed, Purpose::Weights);
    let device = Device::flex().autodiff();
    subject.build(&Structure::default(), &mut rng, &device)
}

/// The Hessian's largest eigenvalue from a dense matrix: columns of fourth-order differences of
/// f64 gradients, along the axes, so neither the code nor the directions under test.
fn dense(subject: &TableMlp, seed: u64) -> f64 {
    let model = flat::in_f64(built(subject, seed));
    let weights = flat::weights(&model);
    let rows: Vec<usize> = (0..12).collect();
    let gradient = |axis: usize, step: f64| {
        let mut moved = weights.clone();
        moved[axis] += step;
        let model = flat::with_weights(model.clone(), &moved);
        let (_, gradients) = subject.loss_and_gradients(&model, &rows, &mut Tape::off());
        flat::gradient(&model, &gradients)
    };
    let h = 1e-3;
    let columns: Vec<Vec<f64>> = (0..weights.len())
        .map(|axis| {
            let at = [-2.0, -1.0, 1.0, 2.0].map(|times| gradient(axis, times * h));
            (0..weights.len())
                .map(|i| (at[0][i] - 8.0 * at[1][i] + 8.0 * at[2][i] - at[3][i]) / (12.0 * h))
                .collect()
        })
        .collect();
    let n = weights.len();
    let symmetric = faer::Mat::from_fn(n, n, |i, j| 0.5 * (columns[i][j] + columns[j][i]));
    let values = symmetric.self_adjoint_eigenvalues(faer::Side::Lower);
    values.expect("converges")[n - 1]
}

/// The study behind the step sizes: the relative error of the largest eigenvalue by relative step.
#[test]
fn the_steps_lie_where_the_error_is_least() {
    let rows: Vec<usize> = (0..12).collect();
    let subject = small(4);
    let truths = [0, 1, 2].map(|seed| dense(&subject, seed));
    for (in_f64, chosen, bar) in [(true, STEP_F64, 1e-9), (false, STEP_F32, 1e-3)] {
        let mut worst = Vec::new();
        for halves in -18..=-2 {
            let relative_step = 10f64.powf(f64::from(halves) / 2.0);
            // Converged, so that what is left is the differences' error. In f32 no product is
            // good to more than a few digits.
            let precision = Precision {
                in_f64,
                relative_step,
                tolerance: if in_f64 { 1e-7 } else { 1e-4 },
            };
            let budget = SharpnessBudget {
                max_iterations: 30,
                ..SharpnessBudget::default()
            };
            let errors = (0..).zip(truths).map(|(seed, truth)| {
                let model = built(&subject, seed);
                let found = measure(&subject, &model, &rows, seed, budget, precision);
                found.map_or(f64::INFINITY, |found| {
                    (found.lambda_max / truth - 1.0).abs()
                })
            });
            worst.push((relative_step, errors.fold(0.0, f64::max)));
        }
        for (step, error) in &worst {
            println!(
                "f64 {in_f64}: relative step {step:.1e}, worst error of three seeds {error:.1e}"
            );
        }
        let near = |step: f64| (step / chosen).ln().abs() < 3f64.sqrt().ln();
        let error = worst
            .iter()
            .find(|(step, _)| near(*step))
            .expect("in the grid")
            .1;
        assert!(error < bar, "{error}");
        // The controls: far steps on either side are worse.
        for far in [worst[0].1, worst[worst.len() - 1].1] {
            assert!(far > 2.0 * error, "{far} beside {error}");
        }
    }
}

#[test]
fn the_budget_buys_rows_and_iterations() {
    let budget = SharpnessBudget::default();
    // A thousand layers of a hundred units.
    assert_eq!(budget.spend(10_026_000, 1.0026e7, 32), (3, 4));
    assert_eq!(budget.spend(1_000, 1e3, 32), (60, 32));
    // However large, something is measured.
    assert_eq!(budget.spend(10_000_000_000, 1e10, 32), (3, 1));
    for odd in [0.0, f64::NAN, f64::INFINITY, -1.0] {
        let (iterations, rows) = budget.spend(0, odd, 4);
        assert!(
            (3..=60).contains(&iterations) && (1..=4).contains(&rows),
            "{odd}"
        );
    }
    assert_eq!(budget.spend(10, 10.0, 0).1, 1);
}

#[test]
fn rows_and_products_are_those_that_were_paid_for() {
    let subject = small(5);
    let (model, rows) = (built(&subject, 1), [0usize, 1, 2, 3]);
    let work = subject.work(&model);
    let poor = SharpnessBudget {
        vector_values: 0.0,
        work: 2.0 * 3.0 * work * 2.0,
        max_iterations: 60,
    };
    let found = sharpness_within(&subject, &model, &rows, 1, poor).unwrap();
    assert_eq!((found.iterations, found.rows), (3, 2));
    let same = sharpness_within(&subject, &model, &rows[..2], 1, poor).unwrap();
    assert_eq!(found, same);
    assert_eq!(sharpness(&subject, &model, &[], 1), None);
}

#[test]
fn a_normalised_network_is_measured_in_f32() {
    let subject = small(5);
    let structure = Structure {
        rms_norm_every: Some(1),
        ..Structure::default()
    };
    let plan = crate::Plan {
        seed: 1,
        learning_rate: 0.1,
        momentum: 0.0,
        steps: 1,
        batch_size: 12,
        optimizer: crate::Optimizer::Sgd,
        schedule: crate::Schedule::default(),
        remedies: vec![steadygrad::remedy::RmsNorm { every: 1 }.into()],
    };
    let device = Device::flex().autodiff();
    let (model, _) = build::build(&subject, &plan, &plan.remedies, &device);
    assert!(structure.normalizes(0) && !subject.computes_in_f64(&model));
    let found = sharpness(&subject, &model, &[0, 1, 2], 1).unwrap();
    assert_eq!(found.relative_step, STEP_F32);
    let plain = sharpness(&subject, &built(&subject, 1), &[0, 1, 2], 1).unwrap();
    assert_eq!(plain.relative_step, STEP_F64);
}
