//! Fits the weights of both forecasts to the zoo's tuning part, and measures how often each is
//! right on the held-out part. One forecast reads the first rows of a log (`diagnose`), the other
//! is made before the first step (`probe`).
//!
//! `cargo run --release -p steadygrad-lab --example forecast [-- SAMPLE]` takes about three minutes
//! on two cores and prints Markdown. With `SAMPLE`, a number, it measures on that fresh sample.
#![allow(
    clippy::print_stdout,
    reason = "an experiment reports to its standard output"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use steadygrad::Evidence;
use steadygrad::diagnose::{DivergenceForecast, History};
use steadygrad::trace::Role;
use steadygrad_lab::Optimizer;
use steadygrad_lab::unstable::zoo::{Configuration, Part, configurations, fresh, risk, run};

/// A run's forecasts and its outcome.
struct Row {
    part: Part,
    family: &'static str,
    learning_rate: f64,
    normalized: bool,
    first_norm: f64,
    optimizer: Optimizer,
    /// The forecast from the first rows.
    rows: Prediction,
    /// The forecast from the first rows of a log that lacks the weight norm.
    bare: Prediction,
    /// The forecast before the first step.
    start: Prediction,
    /// Whether the run failed within the rows that the forecast reads.
    already: bool,
    failed: bool,
}

/// A probability and its features.
struct Prediction {
    probability: f64,
    features: Vec<f64>,
}

impl Prediction {
    fn new(probability: f64, features: &[Evidence]) -> Self {
        Self {
            probability,
            features: features.iter().map(|feature| feature.value).collect(),
        }
    }
}

/// Selects one of the forecasts.
type Which = fn(&Row) -> &Prediction;

/// Number of rows that the forecast from a log reads.
const SEEN: u64 = 8;

fn main() {
    let draw: Option<u64> = std::env::args()
        .nth(1)
        .map(|text| text.parse().expect("the sample is a number"));
    let (tuning, held_out): (Vec<_>, Vec<_>) = configurations()
        .into_iter()
        .partition(|one| one.part() == Part::Tuning);
    let judged = draw.map_or(held_out, fresh).into_iter();
    let tuning = tuning.into_iter().map(|one| (Part::Tuning, one));
    let all: Vec<(Part, Configuration)> = tuning
        .chain(judged.map(|one| (Part::HeldOut, one)))
        .filter(|(_, one)| one.fault.is_none() && one.warmup_steps == 0)
        .collect();
    let (next, begun) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let device = Device::flex().autodiff();
                while let Some((part, one)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run(one, &device).expect("no fault");
                    let mut bare = run.trace.clone();
                    bare.series
                        .retain(|series| *series.role() != Role::WeightNorm);
                    let of = |trace| DivergenceForecast::of(&History::of(trace));
                    let (Some(forecast), Some(bare)) = (of(&run.trace), of(&bare)) else {
                        continue;
                    };
                    let Some(risk) = risk(one, &device) else {
                        continue;
                    };
                    let column = |role: &Role| {
                        run.trace
                            .series(role)
                            .map_or(&[][..], |series| series.values())
                    };
                    let losses = column(&Role::Loss);
                    let jumped = losses
                        .iter()
                        .take(SEEN as usize)
                        .any(|loss| *loss > 3.0 * losses[0]);
                    let row = Row {
                        part: *part,
                        family: one.architecture.family(),
                        learning_rate: one.learning_rate,
                        normalized: matches!(one.architecture.family(), "mlp-norm" | "transformer"),
                        first_norm: column(&Role::GradNorm)[0],
                        optimizer: one.optimizer,
                        rows: Prediction::new(forecast.probability, &forecast.features),
                        bare: Prediction::new(bare.probability, &bare.features),
                        start: Prediction::new(risk.probability, &risk.features),
                        already: jumped || run.first_non_finite.is_some_and(|step| step < SEEN),
                        failed: run.final_state.failed(),
                    };
                    begun.lock().expect("no thread panics").push(row);
                }
            });
        }
    });
    let begun = begun.into_inner().expect("no thread panics");
    let of = |part| {
        begun
            .iter()
            .filter(|one| one.part == part)
            .collect::<Vec<&Row>>()
    };
    let (tuning, held_out) = (of(Part::Tuning), of(Part::HeldOut));
    let name = draw.map_or("held out".into(), |draw| format!("fresh draw {draw}"));
    let rows: Which = |run| &run.rows;
    let bare: Which = |run| &run.bare;
    let start: Which = |run| &run.start;
    println!("# Fitted\n");
    fit("from the first rows", &tuning, rows);
    fit(
        "from the first rows without the weights' norm",
        &tuning,
        bare,
    );
    for (name, is_adam) in [
        ("before training, sgd", false),
        ("before training, adam", true),
    ] {
        let of_rule = |one: &&Row| (one.optimizer != Optimizer::Sgd) == is_adam;
        let part: Vec<&Row> = tuning.iter().copied().filter(of_rule).collect();
        fit(name, &part, start);
    }
    println!("\n# From the first rows, {name}: {} runs\n", held_out.len());
    table(&held_out, rows);
    println!("\n# The same without the weights' norm\n");
    table(&held_out, bare);
    println!("\n# Before training, {name}: {} runs\n", held_out.len());
    table(&held_out, start);
    let open: Vec<&Row> = held_out.into_iter().filter(|one| !one.already).collect();
    println!(
        "\n# Those that had not failed within the first rows: {} runs\n\nFrom the first rows:\n",
        open.len()
    );
    table(&open, rows);
    println!("\nThe same without the weights' norm:\n");
    table(&open, bare);
    println!("\nBefore training:\n");
    table(&open, start);
}

/// Fits a logistic regression by gradient descent on standardised features. A small weight decay
/// keeps the weights finite if the data are separable.
fn fit(name: &str, runs: &[&Row], which: Which) {
    const STEPS: usize = 20_000;
    const DECAY: f64 = 1e-3;
    let width = which(runs[0]).features.len();
    let count = runs.len() as f64;
    let mean: Vec<f64> = (0..width)
        .map(|f| runs.iter().map(|run| which(run).features[f]).sum::<f64>() / count)
        .collect();
    let deviation: Vec<f64> = (0..width)
        .map(|f| {
            (runs
                .iter()
                .map(|run| (which(run).features[f] - mean[f]).powi(2))
                .sum::<f64>()
                / count)
                .sqrt()
        })
        .collect();
    let (mut bias, mut weights) = (0.0, vec![0.0; width]);
    for _ in 0..STEPS {
        let (mut down, mut downs) = (0.0, vec![0.0; width]);
        for run in runs {
            let x: Vec<f64> = (0..width)
                .map(|f| (which(run).features[f] - mean[f]) / deviation[f])
                .collect();
            let sum: f64 = bias
                + x.iter()
                    .zip(&weights)
                    .map(|(x, weight)| x * weight)
                    .sum::<f64>();
            let away = 1.0 / (1.0 + (-sum).exp()) - f64::from(u8::from(run.failed));
            down += away / count;
            for f in 0..width {
                downs[f] += away * x[f] / count;
            }
        }
        bias -= down;
        for f in 0..width {
            weights[f] -= downs[f] + DECAY * weights[f];
        }
    }
    let plain: Vec<f64> = (0..width).map(|f| weights[f] / deviation[f]).collect();
    let bias = bias - (0..width).map(|f| plain[f] * mean[f]).sum::<f64>();
    let failed = runs.iter().filter(|run| run.failed).count();
    println!(
        "- {name}: {} tuning runs, {failed} failed: bias {bias:.4}, weights {plain:.4?}",
        runs.len()
    );
}

/// A score that ranks runs.
type Score<'a> = &'a dyn Fn(&Row) -> f64;

fn table(runs: &[&Row], which: Which) {
    println!("| score | AUROC | within family and half a decade of rates |\n|---|---|---|");
    let scores: [(&str, Score<'_>); 4] = [
        ("forecast", &|run| which(run).probability),
        ("control: no normalisation", &|run| {
            f64::from(u8::from(!run.normalized))
        }),
        ("control: learning rate", &|run| run.learning_rate),
        ("control: first gradient norm", &|run| run.first_norm),
    ];
    for (name, score) in scores {
        let mut strata: BTreeMap<(&str, i64), Vec<&Row>> = BTreeMap::new();
        for run in runs {
            strata
                .entry((run.family, half_decade(run.learning_rate)))
                .or_default()
                .push(run);
        }
        let (mut right, mut pairs) = (0.0, 0.0);
        for stratum in strata.values() {
            let (r, p) = ordered(stratum, score);
            right += r;
            pairs += p;
        }
        let (all_right, all_pairs) = ordered(runs, score);
        println!(
            "| {name} | {:.4} | {:.4} of {pairs} pairs |",
            all_right / all_pairs,
            right / pairs
        );
    }
    // The expected calibration error, over ten bins of the probability.
    let mut bins = vec![(0.0, 0.0, 0.0); 10];
    for run in runs {
        let bin = &mut bins[((which(run).probability * 10.0) as usize).min(9)];
        bin.0 += 1.0;
        bin.1 += which(run).probability;
        bin.2 += f64::from(u8::from(run.failed));
    }
    let error: f64 = bins
        .iter()
        .map(|(_, said, was)| f64::abs(said - was))
        .sum::<f64>()
        / runs.len() as f64;
    println!(
        "\nExpected calibration error {error:.4}, {} of {} failed.",
        runs.iter().filter(|run| run.failed).count(),
        runs.len()
    );
}

/// Groups learning rates by half decades. A group holds one rate of the zoo's list and the rates of
/// a fresh sample near it.
fn half_decade(rate: f64) -> i64 {
    (2.0 * rate.log10()).round() as i64
}

/// Counts the pairs of a failed run and another one that the score ranks correctly, and all pairs.
/// A tie counts as half.
fn ordered(runs: &[&Row], score: Score<'_>) -> (f64, f64) {
    let (mut right, mut pairs) = (0.0, 0.0);
    for failed in runs.iter().filter(|run| run.failed) {
        for other in runs.iter().filter(|run| !run.failed) {
            pairs += 1.0;
            right += match score(failed).total_cmp(&score(other)) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    (right, pairs)
}
