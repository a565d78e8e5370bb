//! Trains twins on the embedded subjects, and tests which of them separate.

#![allow(
    clippy::print_stdout,
    reason = "what parts, and what its control does, is worth seeing: run with --nocapture"
)]

use burn::tensor::Device;
use steadygrad::dynamics::{Activation, Butterfly, Horizon};
use steadygrad::probe::{Perturbed, TwinError};
use steadygrad_lab::data::{Table, Target};
use steadygrad_lab::models::MlpConfig;
use steadygrad_lab::subjects::{TableMlp, TemporalOrderRnn};
use steadygrad_lab::{Optimizer, Plan, Schedule, Subject, Twins};

fn butterfly<S: Subject>(
    subject: &S,
    plan: &Plan,
    twins: Twins,
    device: &Device,
) -> Result<Butterfly, TwinError> {
    steadygrad_lab::butterfly(subject, plan, twins, device).outcome
}

const BOTH: [Perturbed; 2] = [Perturbed::Weights, Perturbed::Inputs];

fn plan(learning_rate: f64, batch_size: usize) -> Plan {
    Plan {
        seed: 3,
        learning_rate,
        momentum: 0.0,
        steps: 1,
        batch_size,
        optimizer: Optimizer::Sgd,
        schedule: Schedule::default(),
        remedies: vec![],
    }
}

/// A small tanh network that learns a smooth function, initialised at `init_std`.
fn network(init_std: f64) -> TableMlp {
    let (rows, features) = (24, 4);
    let values: Vec<f32> = (0..rows * features)
        .map(|at| ((at * at) as f32 * 0.37).sin())
        .collect();
    let targets: Vec<f32> = (0..rows).map(|row| (row as f32 * 0.9).cos()).collect();
    let table = Table {
        features,
        values,
        target: Target::Numbers(targets),
        training: (0..rows).collect(),
        validation: vec![0, 1],
    };
    let config = MlpConfig {
        depth: 3,
        width: 12,
        activation: Activation::Tanh,
        init_std,
    };
    let device = Device::flex().autodiff();
    TableMlp::new("smooth", "made up", table, config, 1.0, device)
}

#[test]
fn twins_separate_in_chaotic_training_and_not_in_stable_training() {
    let device = Device::flex().autodiff();
    let subject = network(0.29);
    let twins = Twins {
        steps: 150,
        ..Twins::default()
    };
    let stable = butterfly(&subject, &plan(0.02, 24), twins, &device).unwrap();
    let chaotic = butterfly(&subject, &plan(1.5, 24), twins, &device).unwrap();
    for (name, found) in [("control, rate 0.02", &stable), ("rate 1.5", &chaotic)] {
        println!(
            "{name}: start {:.2e}, weights {:?}, loss {:?}",
            found.steps[0].weights.relative(),
            found.weights,
            found.loss.horizon
        );
        // Twins in f64 keep a difference of 1e-8.
        assert_eq!(found.settings.resolution, f64::EPSILON);
        assert!((found.steps[0].weights.relative() / 1e-8 - 1.0).abs() < 1e-6);
    }
    assert!(chaotic.weights.exponent.unwrap().separates());
    assert!(matches!(chaotic.weights.horizon, Horizon::Measured { .. }));
    let calm = stable.weights.exponent.unwrap();
    assert!(calm.rate < 0.01, "{calm:?}");
    assert!(!matches!(stable.weights.horizon, Horizon::Measured { .. }));
}

#[test]
fn recurrent_twins_in_f32_start_where_f32_can_hold_them() {
    let device = Device::flex().autodiff();
    let twins = Twins {
        steps: 60,
        ..Twins::default()
    };
    let run = |init_std: f64, learning_rate: f64| {
        let subject = TemporalOrderRnn::new(12, 16, init_std, 1.0);
        butterfly(&subject, &plan(learning_rate, 16), twins, &device).unwrap()
    };
    let (calm, wild) = (run(0.1, 0.01), run(0.6, 2.0));
    for (name, found) in [("control", &calm), ("exploding", &wild)] {
        println!(
            "{name}: start {:.2e}, weights {:?}",
            found.steps[0].weights.relative(),
            found.weights
        );
        assert_eq!(found.settings.resolution, f64::from(f32::EPSILON));
        let start = found.steps[0].weights.relative();
        assert!(start > found.settings.floor() && start < 3e-6, "{start}");
    }
    assert!(wild.weights.exponent.unwrap().separates());
    assert!(calm.weights.exponent.unwrap().rate < 0.01);
    assert!(matches!(wild.weights.horizon, Horizon::Measured { .. }));
    assert!(!matches!(calm.weights.horizon, Horizon::Measured { .. }));
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let device = Device::flex().autodiff();
    let twins = Twins {
        steps: 12,
        ..Twins::default()
    };
    for perturb in BOTH {
        let twins = Twins { perturb, ..twins };
        let run = |seed: u64| {
            let mut plan = plan(0.1, 8);
            (plan.seed, plan.momentum) = (seed, 0.9);
            butterfly(&network(0.29), &plan, twins, &device).unwrap()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1).steps, run(2).steps);
    }
}

#[test]
fn a_twin_that_diverges_is_an_outcome_and_no_difference_an_error() {
    let device = Device::flex().autodiff();
    let mut linear = plan(1e200, 24);
    let found = butterfly(&network(0.29), &linear, Twins::default(), &device).unwrap();
    let last = found.steps[found.steps.len() - 1].step;
    assert!(last < 200 && found.weights.diverged_at.or(found.loss.diverged_at) == Some(last));
    assert!(matches!(found.weights.horizon, Horizon::Measured { .. }));
    linear.learning_rate = 0.1;
    for (perturbation, perturb) in [0.0, -1.0, f64::NAN, f64::INFINITY]
        .into_iter()
        .flat_map(|size| BOTH.map(|what| (size, what)))
    {
        let twins = Twins {
            steps: 3,
            perturb,
            perturbation,
            ..Twins::default()
        };
        let refused = butterfly(&network(0.29), &linear, twins, &device);
        assert!(
            matches!(refused, Err(TwinError::Perturbation { size })
                if size.total_cmp(&perturbation).is_eq()),
            "{perturbation}: {refused:?}"
        );
    }
}

#[test]
fn different_inputs_separate_the_weights_too() {
    let device = Device::flex().autodiff();
    let (table, twins) = (network(0.29), |steps| Twins {
        steps,
        perturb: Perturbed::Inputs,
        ..Twins::default()
    });
    let run = |learning_rate| butterfly(&table, &plan(learning_rate, 24), twins(150), &device);
    let (stable, chaotic) = (run(0.02).unwrap(), run(1.5).unwrap());
    for found in [&stable, &chaotic] {
        let first = &found.steps[0];
        assert_eq!(first.weights.distance, 0.0);
        // The loss and the gradient change by the same order of magnitude as the inputs.
        for apart in [first.loss, first.gradients] {
            assert!((1e-10..1e-6).contains(&apart.relative()), "{apart:?}");
        }
        println!("inputs: weights {:?}", found.weights);
    }
    assert!(chaotic.weights.exponent.unwrap().separates());
    let farthest = chaotic.steps.iter().map(|step| step.weights.relative());
    let farthest = farthest.fold(0.0, f64::max);
    assert!(farthest > 1e-2, "{farthest}");
    // The control: the gradients differ, so the weights separate at first, but stay close.
    assert!(!matches!(stable.weights.horizon, Horizon::Measured { .. }));
    let last = stable.steps.last().unwrap().weights.relative();
    assert!(last < 1e-6, "{last}");

    let recurrent = TemporalOrderRnn::new(12, 16, 0.6, 1.0);
    let found = steadygrad_lab::butterfly(&recurrent, &plan(2.0, 16), twins(60), &device);
    println!("recurrent: {:?}", found.outcome.as_ref().unwrap().weights);
    assert_eq!((found.requested, found.precision()), (1e-8, "f32"));
    assert!(
        (found.applied / 2.4e-6 - 1.0).abs() < 0.01,
        "{}",
        found.applied
    );
    let found = found.outcome.unwrap();
    assert_eq!(found.steps[0].weights.distance, 0.0);
    assert!(found.steps[0].gradients.relative() > 0.0);
    assert!(found.weights.exponent.unwrap().separates());
}
