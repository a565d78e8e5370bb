//! What the guard costs: a step with everything on (detectors, record, snapshots at their default
//! interval) against a bare step of the same training loop, run by turns. Bare has Burn's own
//! optimizer; beside it, bare with the one that makes a step in one pass, which the guarded ones have.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example overhead [PAIRS] [mlp] [cnn] [rnn]`.
#![allow(clippy::print_stdout)]

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use steadygrad::guard::Preset;
use steadygrad_lab::faults::Faults;
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::{
    Control, Optimizer, Plan, Silent, Structure, Subject, Tape, TrainOptions, train,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Burn's own optimizer with the plan's settings: what the training loop without steadygrad has.
fn burns_own(plan: &Plan) -> ModuleOptimizer {
    match plan.optimizer {
        Optimizer::Sgd => SgdConfig::new()
            .with_momentum((plan.momentum > 0.0).then(|| {
                MomentumConfig::new()
                    .with_momentum(plan.momentum)
                    .with_dampening(0.0)
            }))
            .init(),
        Optimizer::Adam => AdamConfig::new().with_epsilon(1e-8).init(),
        Optimizer::AdamW => unreachable!("no healthy subject has it"),
    }
}

fn bare<S: Subject>(
    subject: &S,
    plan: &Plan,
    mut optimizer: ModuleOptimizer,
    device: &Device,
) -> f64 {
    let rng = &mut ChaCha8Rng::seed_from_u64(plan.seed);
    let mut model = subject.build(&Structure::default(), rng, device);
    let samples = subject.summary().training_samples;
    let begin = Instant::now();
    for step in 0..plan.steps {
        let first = step as usize * plan.batch_size;
        let rows: Vec<usize> = (first..first + plan.batch_size)
            .map(|row| row % samples)
            .collect();
        let (_, gradients) = subject.loss_and_gradients(&model, &rows, &mut Tape::off());
        let learning_rate = plan.scheduled(plan.learning_rate, step);
        model = optimizer.step(learning_rate, model, gradients);
    }
    begin.elapsed().as_secs_f64()
}

fn guarded<S: Subject>(subject: &S, plan: &Plan, recorded: bool, device: &Device) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    let options = TrainOptions {
        name: "overhead",
        guard: Preset::Default.into(),
        faults: &Faults::default(),
        run_dir: recorded.then_some(run.as_path()),
        resume: false,
        notes: &[],
    };
    let control = Control {
        cancelled: &AtomicBool::new(false),
        progress: &Silent,
    };
    let (trained, _) = train(subject, plan, &options, device, control).expect("a run");
    assert_eq!(trained.guard.kept, trained.steps, "a healthy run");
    (trained.seconds, trained.snapshot_seconds)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare<S: Subject>(subject: &S, plan: &Plan, pairs: usize, device: &Device) {
    let plan = Plan {
        steps: plan.steps.max(600),
        ..plan.clone()
    };
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut share = vec![];
    for pair in 0..pairs {
        // Each way comes first in turn.
        for way in 0..times.len() {
            let way = (way + pair) % times.len();
            times[way].push(match way {
                0 => bare(subject, &plan, burns_own(&plan), device),
                1 => bare(subject, &plan, plan.optimizer.init(plan.momentum), device),
                2 => guarded(subject, &plan, false, device).0,
                _ => {
                    let (seconds, snapshots) = guarded(subject, &plan, true, device);
                    share.push(snapshots / seconds);
                    seconds
                }
            });
        }
    }
    let [alone, own, with, recorded] = times.map(|mut times| median(&mut times));
    println!(
        "{:<20} bare {:>8.1} us/step  one-pass optimizer {:.3}x  guarded {:.3}x  guarded and recorded {:.3}x  (snapshots {:.1} % of it)",
        subject.summary().name,
        1e6 * alone / plan.steps as f64,
        own / alone,
        with / alone,
        recorded / alone,
        100.0 * median(&mut share),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let pairs = arguments.first().and_then(|text| text.parse().ok());
    let pairs = pairs.unwrap_or(9);
    let wanted = |name: &str| match &arguments[..] {
        [_, names @ ..] if !names.is_empty() => names.iter().any(|found| found == name),
        _ => true,
    };
    let device = Device::flex().autodiff();
    if wanted("mlp") {
        let (subject, plan) = healthy::mlp(&device);
        compare(&subject, &plan, pairs, &device);
    }
    if wanted("cnn") {
        let (subject, plan) = healthy::cnn(&device);
        compare(&subject, &plan, pairs, &device);
    }
    if wanted("rnn") {
        let (subject, plan) = healthy::rnn();
        compare(&subject, &plan, pairs, &device);
    }
}
