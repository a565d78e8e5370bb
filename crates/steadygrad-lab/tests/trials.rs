//! Trials do what they say: the same numbers for the same seed, remedies that change what they
//! name, and measurements that agree with closed forms.

use std::sync::atomic::AtomicBool;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use steadygrad::cure::{End, Goal, Outcome};
use steadygrad::dynamics::Activation;
use steadygrad::record::{RecordError, read_steps};
use steadygrad::remedy::Remedy;
use steadygrad_lab::data::digits;
use steadygrad_lab::models::MlpConfig;
use steadygrad_lab::subjects::TableMlp;
use steadygrad_lab::{
    Control, Job, Plan, Silent, Structure, Subject, Summary, Tape, TrialSpec, cure, measure,
    run_trial, sharpness,
};

fn device() -> Device {
    Device::flex().autodiff()
}

fn small(init_std: f64) -> TableMlp {
    let config = MlpConfig {
        depth: 6,
        width: 24,
        activation: Activation::Relu,
        init_std,
    };
    TableMlp::new("small", "digits", digits(), config, 0.9, device())
}

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        learning_rate: 0.01,
        momentum: 0.0,
        steps: 30,
        batch_size: 32,
        remedies: vec![],
    }
}

fn run(subject: &TableMlp, plan: &Plan, remedy: Option<Remedy>, observe: bool) -> Outcome {
    let spec = TrialSpec {
        name: "x",
        remedy: remedy.as_ref(),
        observe,
        run_dir: None,
        margin: false,
    };
    let control = Control {
        cancelled: &AtomicBool::new(false),
        progress: &Silent,
    };
    let mut outcome = run_trial(subject, plan, spec, &device(), control).unwrap();
    outcome.seconds = 0.0;
    outcome
}

#[test]
fn a_seed_fixes_a_trial_and_another_changes_it() {
    let subject = small(0.2);
    assert_eq!(
        run(&subject, &plan(1), None, true),
        run(&subject, &plan(1), None, true)
    );
    assert_ne!(
        run(&subject, &plan(1), None, true).trace,
        run(&subject, &plan(2), None, true).trace
    );
}

#[test]
fn a_guard_with_nothing_to_do_leaves_the_run_bit_for_bit_as_it_was() {
    let subject = small(0.2);
    let watched = run(&subject, &plan(1), None, true);
    let guarded = run(
        &subject,
        &plan(1),
        Some(Remedy::ClipGlobalNorm { max_norm: 1e30 }),
        false,
    );
    assert_eq!(watched.trace, guarded.trace);
    // The control: a clip that binds does change the run.
    let clipped = run(
        &subject,
        &plan(1),
        Some(Remedy::ClipGlobalNorm { max_norm: 1e-3 }),
        false,
    );
    assert_ne!(watched.trace, clipped.trace);
    assert_eq!(clipped.clip_rate, 1.0);
}

#[test]
fn each_remedy_changes_what_it_names() {
    let subject = small(0.6);
    let at_start = |remedies: Vec<Remedy>| {
        measure(
            &subject,
            &Plan {
                remedies,
                ..plan(1)
            },
            &device(),
        )
    };
    let untreated = at_start(vec![]);
    let gain = untreated.repeated_gain().unwrap();
    assert!((gain / (0.6 * 24f64.sqrt()) - 1.0).abs() < 0.1, "{gain}");

    let scaled = at_start(vec![Remedy::CriticalInit {
        gain: 1.5,
        input_rms: 2.0,
    }]);
    let gains: Vec<f64> = scaled.weights.iter().map(|matrix| matrix.gain()).collect();
    for (index, gain) in gains.iter().enumerate() {
        let expected = if index == 0 {
            0.75
        } else if index == 6 {
            1.0
        } else {
            1.5
        };
        assert!((gain - expected).abs() < 1e-4, "matrix {index}: {gain}");
    }

    let capped = at_start(vec![Remedy::CapSpectralNorm {
        max_spectral_norm: 1.0,
    }]);
    for matrix in &capped.weights {
        let repeated = matrix.role.is_repeated();
        assert_eq!(matrix.spectral_norm < 1.02, repeated, "{matrix:?}");
    }

    let normalized = at_start(vec![Remedy::RmsNorm { every: 1 }]);
    for point in &normalized.growth.points {
        assert!(
            point.activation_rms < 1.0,
            "ReLU of a unit-size signal: {point:?}"
        );
    }
    assert!(untreated.growth.points.last().unwrap().activation_rms > 100.0);

    assert_eq!(
        at_start(vec![Remedy::ReduceDepth { depth: 2 }])
            .growth
            .points
            .len(),
        2
    );
    assert!(
        run(
            &subject,
            &plan(1),
            Some(Remedy::ReduceDepth { depth: 2 }),
            false
        )
        .work
            < 0.8
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let slow = Remedy::LowerLearningRate {
        learning_rate: 1e-7,
    };
    let spec = TrialSpec {
        name: "slow",
        remedy: Some(&slow),
        observe: false,
        run_dir: Some(&path),
        margin: false,
    };
    let control = Control {
        cancelled: &AtomicBool::new(false),
        progress: &Silent,
    };
    run_trial(&subject, &plan(1), spec, &device(), control).unwrap();
    let table = read_steps(&path.join("steps.arrow")).unwrap();
    assert_eq!(table.rows.len(), 30);
    assert!(table.rows.iter().all(|row| row.learning_rate == 1e-7));
    assert!(
        table
            .parameters
            .contains(&"hidden.3.linear.weight".to_owned())
    );

    // The same folder again would overwrite a result.
    let again = run_trial(&subject, &plan(1), spec, &device(), control);
    assert!(matches!(again, Err(RecordError::NotEmpty { .. })));
}

#[test]
fn an_exploding_run_is_stopped_before_a_weight_is_lost_and_observed_to_its_end() {
    let subject = small(3.0);
    let stopped = run(
        &subject,
        &plan(1),
        Some(Remedy::ClipGlobalNorm { max_norm: 1e30 }),
        false,
    );
    let observed = run(&subject, &plan(1), None, true);
    let first = observed.first_non_finite_step.expect("it explodes");
    assert_eq!(stopped.steps_done, stopped.first_non_finite_step.unwrap());
    assert!(observed.steps_done > first);
    assert!(observed.first_detection().unwrap().step < first);
    assert!(observed.validation_metric.is_nan());
}

#[test]
fn a_cancelled_trial_says_so() {
    let subject = small(0.2);
    let spec = TrialSpec {
        name: "x",
        remedy: None,
        observe: true,
        run_dir: None,
        margin: false,
    };
    let control = Control {
        cancelled: &AtomicBool::new(true),
        progress: &Silent,
    };
    let outcome = run_trial(&subject, &plan(1), spec, &device(), control).unwrap();
    assert_eq!((outcome.end, outcome.steps_done), (End::Interrupted, 0));
}

#[test]
fn the_number_of_workers_does_not_change_the_report() {
    let subject = small(0.6);
    let report = |workers| {
        let job = Job {
            out: None,
            workers,
            fresh_seeds: 2,
            study: None,
        };
        let control = Control {
            cancelled: &AtomicBool::new(false),
            progress: &Silent,
        };
        let mut report = cure(&subject, &plan(3), &job, &device(), control, |_| None).unwrap();
        report.seconds = 0.0;
        let runs = report
            .verification
            .iter_mut()
            .flat_map(|verified| &mut verified.seeds);
        let outcomes = report
            .trials
            .iter_mut()
            .filter_map(|trial| trial.outcome.as_mut());
        outcomes
            .chain(runs.map(|run| &mut run.outcome))
            .for_each(|outcome| outcome.seconds = 0.0);
        steadygrad_report::json::cure(&report).unwrap()
    };
    assert_eq!(report(1), report(2));
}

/// Mean of `(X w)^2`: its Hessian is `2 / n X^T X`, whatever the weights.
struct Quadratic;

#[derive(Module, Debug)]
struct Weights {
    w: Param<Tensor<2>>,
}

impl Subject for Quadratic {
    type Model = Weights;

    fn summary(&self) -> Summary {
        Summary {
            name: "quadratic".into(),
            description: String::new(),
            activation: Activation::Linear,
            depth: None,
            sequence_length: None,
            training_samples: 2,
            validation_samples: 1,
            metric: "none",
            goal: Goal {
                metric: 1.0,
                trivial: 0.0,
            },
        }
    }

    fn build(&self, _: &Structure, _: &mut ChaCha8Rng, device: &Device) -> Weights {
        Weights {
            w: Param::from_data(TensorData::new(vec![1.0f32, -2.0], [2, 1]), device),
        }
    }

    fn loss(&self, model: &Weights, _: &[usize], _: &mut Tape) -> Tensor<1> {
        let x = TensorData::new(vec![3.0f32, 1.0, 1.0, 2.0], [2, 2]);
        Tensor::<2>::from_data(x, &device())
            .matmul(model.w.val())
            .square()
            .mean()
    }

    fn validate(&self, _: &Weights) -> f64 {
        0.0
    }

    fn input_rms(&self, _: &[usize]) -> f64 {
        1.0
    }
}

#[test]
fn sharpness_of_a_quadratic_is_its_largest_eigenvalue() {
    // 2/n X^T X with X = [[3, 1], [1, 2]]: [[10, 5], [5, 5]], largest eigenvalue (15 + 5 sqrt 5)/2.
    let model = Quadratic.build(&Structure::default(), &mut rng(), &device());
    let found = sharpness(&Quadratic, &model, &[0, 1], 1).unwrap();
    let exact = (15.0 + 5.0 * 5f64.sqrt()) / 2.0;
    assert!(
        (found.lambda_max / exact - 1.0).abs() < 0.01,
        "{found:?} and {exact}"
    );
    assert!(found.last_change < 0.01);

    let lost = Weights {
        w: Param::from_data(TensorData::new(vec![f32::NAN, 1.0], [2, 1]), &device()),
    };
    assert_eq!(sharpness(&Quadratic, &lost, &[0, 1], 1), None);
}

fn rng() -> ChaCha8Rng {
    rand::SeedableRng::seed_from_u64(1)
}
