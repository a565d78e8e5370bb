//! What the guard costs: a step with everything on (detectors, record, snapshots at their default
//! interval) against a bare step of the same training loop, run by turns.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example overhead [PAIRS]`.
#![allow(clippy::print_stdout)]

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use steadygrad::guard::Preset;
use steadygrad_lab::faults::Faults;
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::{Control, Plan, Silent, Structure, Subject, Tape, TrainOptions, train};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn bare<S: Subject>(subject: &S, plan: &Plan, device: &Device) -> f64 {
    let rng = &mut ChaCha8Rng::seed_from_u64(plan.seed);
    let mut model = subject.build(&Structure::default(), rng, device);
    let mut optimizer = plan.optimizer.init(plan.momentum);
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
    let (mut alone, mut with, mut recorded, mut share) = (vec![], vec![], vec![], vec![]);
    for _ in 0..pairs {
        alone.push(bare(subject, &plan, device));
        with.push(guarded(subject, &plan, false, device).0);
        let (seconds, snapshots) = guarded(subject, &plan, true, device);
        recorded.push(seconds);
        share.push(snapshots / seconds);
    }
    let steps = plan.steps as f64;
    let (alone, with, recorded) = (median(&mut alone), median(&mut with), median(&mut recorded));
    println!(
        "{:<20} bare {:>8.1} us/step  guarded {:.3}x  guarded and recorded {:.3}x  (snapshots {:.1} % of it)",
        subject.summary().name,
        1e6 * alone / steps,
        with / alone,
        recorded / alone,
        100.0 * median(&mut share),
    );
}

fn main() {
    let pairs = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let pairs = pairs.unwrap_or(9);
    let device = Device::flex().autodiff();
    let (subject, plan) = healthy::mlp(&device);
    compare(&subject, &plan, pairs, &device);
    let (subject, plan) = healthy::cnn(&device);
    compare(&subject, &plan, pairs, &device);
    let (subject, plan) = healthy::rnn();
    compare(&subject, &plan, pairs, &device);
}
