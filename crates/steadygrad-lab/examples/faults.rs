//! Measures the effect of each fault on a run without a guard. It trains the healthy subjects with
//! each fault and compares the final metric with that of a clean run, over several seeds.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example faults -- 5` for five seeds.
use std::time::Instant;

use anstream::println;
use burn::tensor::Device;
use steadygrad_lab::faults::{Fault, Faults};
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::unstable::train_unguarded;
use steadygrad_lab::{Plan, Subject};

/// The first seed. The healthy plans were chosen on other seeds, 1000 to 1009.
const FIRST_SEED: u64 = 2000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let seeds = std::env::args()
        .nth(1)
        .map_or(Ok(3), |seeds| seeds.parse())?;
    let device = Device::flex().autodiff();
    let (mlp, plan) = healthy::mlp(&device);
    table("MLP", &mlp, &plan, seeds, &device)?;
    let (cnn, plan) = healthy::cnn(&device);
    table("CNN", &cnn, &plan, seeds, &device)?;
    let (rnn, plan) = healthy::rnn();
    table("RNN", &rnn, &plan, seeds, &device)
}

fn table<S: Subject>(
    name: &str,
    subject: &S,
    plan: &Plan,
    seeds: u64,
    device: &Device,
) -> Result<(), Failure> {
    let metrics = |faults: &[Fault]| -> Result<(Vec<f64>, usize), Failure> {
        let (mut metrics, mut non_finite) = (Vec::new(), 0);
        for seed in FIRST_SEED..FIRST_SEED + seeds {
            let plan = Plan {
                seed,
                ..plan.clone()
            };
            let faults = Faults::new(faults.to_vec(), seed)?;
            let run = train_unguarded(subject, &plan, &faults, device)?;
            metrics.push(run.validation_metric);
            non_finite += usize::from(run.first_non_finite.is_some());
        }
        Ok((metrics, non_finite))
    };
    let begin = Instant::now();
    let (clean, _) = metrics(&[])?;
    let (mean, sd) = mean_and_sd(&clean);
    println!(
        "\n{name}, {} steps, {seeds} seeds: clean {mean:.4} (sd {sd:.4}, worst {:.4}), \
         {:.2} s a run",
        plan.steps,
        clean.iter().copied().fold(f64::INFINITY, f64::min),
        begin.elapsed().as_secs_f64() / seeds as f64,
    );
    println!(
        "{:<22} {:>9} {:>9} {:>12} {:>12}",
        "fault", "metric", "change", "harmed > 1 %", "non-finite"
    );
    for fault in Fault::all(plan.steps / 8) {
        let (faulty, non_finite) = metrics(std::slice::from_ref(&fault))?;
        // A model whose predictions are not finite scores 0.
        let worth: Vec<f64> = faulty.iter().map(|metric| metric.max(0.0)).collect();
        let harmed = worth
            .iter()
            .zip(&clean)
            .filter(|(faulty, clean)| **faulty < 0.99 * **clean)
            .count();
        let (with, _) = mean_and_sd(&worth);
        println!(
            "{:<22} {with:>9.4} {:>+9.4} {harmed:>9}/{seeds} {non_finite:>9}/{seeds}",
            fault.name(),
            with - mean,
        );
    }
    Ok(())
}

fn mean_and_sd(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (square / (count - 1.0).max(1.0)).sqrt())
}
