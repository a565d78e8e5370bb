//! Runs gradient descent just below and well above the largest stable learning rate.

use burn::optim::SgdConfig;
use burn::optim::momentum::MomentumConfig;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use steadygrad_lab::{Subject, Tape, sharpness};

use super::Regression;

const STEPS: usize = 120;
const ROWS: usize = 40;

/// A regression with `features` columns whose scales fall from 1 to `1 / conditioning`.
fn regression(features: usize, conditioning: f64, seed: u64) -> Regression {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || -> Vec<f32> {
        (0..features)
            .map(|at| {
                let normal: f64 = StandardNormal.sample(&mut rng);
                let power = at as f64 / (features - 1) as f64;
                (normal * conditioning.powf(-power)) as f32
            })
            .collect()
    };
    Regression {
        inputs: (0..ROWS).map(|_| row()).collect(),
        bias: false,
    }
}

/// Whether full-batch training ends below where it began.
fn is_stable(regression: &Regression, learning_rate: f64, momentum: f64) -> bool {
    let rows: Vec<usize> = (0..ROWS).collect();
    let heavy = (momentum > 0.0).then(|| {
        MomentumConfig::new()
            .with_momentum(momentum)
            .with_dampening(0.0)
    });
    let mut optimizer = SgdConfig::new().with_momentum(heavy).init();
    let mut model = regression.model();
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let (loss, gradients) = regression.loss_and_gradients(&model, &rows, &mut Tape::off());
        losses.push(loss);
        if !loss.is_finite() || loss > 1e6 * losses[0] {
            return false;
        }
        model = optimizer.step(learning_rate, model, gradients);
    }
    losses[STEPS - 1] < losses[0]
}

#[test]
fn training_is_stable_below_the_reported_learning_rate_and_not_above() {
    let rows: Vec<usize> = (0..ROWS).collect();
    let (mut cases, mut control_right) = (0, 0);
    for features in [2, 12] {
        for (seed, conditioning) in [1.0, 10.0, 1000.0].into_iter().enumerate() {
            let problem = regression(features, conditioning, seed as u64);
            let model = problem.model();
            let found = sharpness(&problem, &model, &rows, 1).expect("finite");
            // The control is a guess without the curvature: 2 divided by the gradient norm.
            let (_, gradients) = problem.loss_and_gradients(&model, &rows, &mut Tape::off());
            let norm = steadygrad_burn::gradient_stats(&model, &gradients).global_norm();
            for momentum in [0.0, 0.9] {
                let limit = found
                    .largest_stable_learning_rate(momentum)
                    .expect("convex");
                let judged = |limit: f64| {
                    (
                        is_stable(&problem, 0.9 * limit, momentum),
                        is_stable(&problem, 1.5 * limit, momentum),
                    )
                };
                let (ours, control) = (judged(limit), judged(2.0 * (1.0 + momentum) / norm));
                println!(
                    "{features} features, conditioning {conditioning}, momentum {momentum}: limit \
                     {limit:.3e}, stable at 0.9 and 1.5 of it: {ours:?}, of 2 / |g|: {control:?}"
                );
                assert_eq!(ours, (true, false));
                cases += 1;
                control_right += usize::from(control == (true, false));
            }
        }
    }
    println!("{cases} cases; the control is right in {control_right}");
    assert!(cases >= 10 && control_right < cases);
}
