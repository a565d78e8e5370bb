//! Compares the guard's default preset with simple rules on simulated streams of readings:
//! `cargo run --release -p steadygrad --example guard_on_streams -- [FIRST_SEED]`.
//!
//! Healthy streams measure false alarms; faulty ones measure detections, recoveries and lead times.
//! Thresholds were chosen on seeds from 0 on; here the default is 2,000,000. The lab's examples
//! judge real runs.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};
use steadygrad::detect::Severity;
use steadygrad::guard::Preset;
use steadygrad::recover::Rung;
use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
use steadygrad::{Decision, Guard, StepReading};

const STEPS: u64 = 1000;
const SEEDS: u64 = 20;
const NOISE: [f64; 4] = [0.05, 0.2, 0.5, 0.9];

/// The course of a healthy run.
#[derive(Debug, Clone, Copy)]
enum Course {
    /// A loss that falls, with Student-t noise; norms that drift down.
    Decay,
    /// The run learns nothing, and the loss stays constant.
    Plateau,
    /// Memorized data: loss and norm near zero, lognormal, with a rare hard sample.
    Converged,
    /// Linear warm-up, then a step schedule.
    Schedule,
    /// Cosine restarts.
    Restarts,
    /// A recurrent network: a long plateau, then norms that rise a hundredfold while the loss
    /// falls, with Pareto tails throughout.
    Breakthrough,
    /// A log-likelihood: negative, and falling.
    Likelihood,
    /// A run that learns on data in stretches of 30 to 150 steps. Each stretch is harder or easier
    /// than the last.
    Stretches,
}

const COURSES: [Course; 8] = [
    Course::Decay,
    Course::Plateau,
    Course::Converged,
    Course::Schedule,
    Course::Restarts,
    Course::Breakthrough,
    Course::Likelihood,
    Course::Stretches,
];

/// Loss, gradient norm, learning rate and weight norm.
#[derive(Debug, Clone, Copy)]
struct Row {
    loss: f64,
    norm: f64,
    rate: f64,
    weights: f64,
    update: f64,
}

fn healthy(course: Course, noise: f64, seed: u64) -> Vec<Row> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let heavy = StudentT::new(3.0).expect("three degrees of freedom");
    let half = 10f64.powf(random.random_range(1.0..2.5));
    let level = 10f64.powf(random.random_range(-2.0..2.0));
    let breakthrough = random.random_range(200..800) as f64;
    let mut drift = 0.0;
    let (mut stretch, mut hardness) = (0u64, 1.0);
    (0..STEPS)
        .map(|step| {
            let t = step as f64;
            let normal: f64 = StandardNormal.sample(&mut random);
            let tail: f64 = heavy.sample(&mut random);
            let pareto = -(1.0 - random.random::<f64>()).ln() / 2.5;
            let hard: f64 = random.random();
            let slow: f64 = StandardNormal.sample(&mut random);
            drift += 0.01 * slow;
            let progress = (-t / half).exp();
            let mut row = Row {
                // A mean over a batch has thinner tails than a single sample.
                loss: (0.3 + 2.0 * progress) * (1.0 + 0.2 * noise * tail).max(0.05),
                norm: level * (0.3 + progress) * (noise * normal + drift).exp(),
                rate: 0.01,
                weights: weights(step),
                update: 0.01 * (0.1 * normal).exp(),
            };
            match course {
                Course::Decay => {}
                Course::Plateau => {
                    row.loss = 2.3 * (1.0 + 0.05 * noise * tail);
                    row.norm = level * (noise * normal).exp();
                }
                Course::Converged => {
                    let small = progress + 1e-4;
                    let sample = if hard < 0.005 { 100.0 } else { 1.0 };
                    row.loss = 2.3 * small * (noise * normal + 0.5 * tail.clamp(-3.0, 3.0)).exp();
                    row.norm = level * small * (1.5 * noise * normal).exp();
                    if small < 1e-2 {
                        row.loss *= sample;
                        row.norm *= sample;
                    }
                }
                Course::Schedule => {
                    row.rate = 0.1 * (t / 100.0).min(1.0) * 0.1f64.powf((t / 400.0).floor());
                    row.norm *= 0.7f64.powf((t / 400.0).floor());
                }
                Course::Restarts => {
                    let phase = (t % 200.0) / 200.0 * std::f64::consts::PI;
                    row.rate = 1e-6 + 0.05 * (1.0 + phase.cos());
                    row.loss *= 1.0 + 0.3 * row.rate / 0.1;
                }
                Course::Breakthrough => {
                    let done = 1.0 / (1.0 + (-(t - breakthrough) / 10.0).exp());
                    row.loss = (1.4 - 1.2 * done) * (1.0 + 0.05 * noise * tail).max(0.1);
                    row.norm = 0.01 * level * 100f64.powf(done) * (0.3 * normal + pareto).exp();
                }
                Course::Stretches => {
                    if stretch == 0 {
                        stretch = random.random_range(30..150);
                        let level: f64 = StandardNormal.sample(&mut random);
                        hardness = (0.3 * level).exp();
                    }
                    stretch -= 1;
                    row.loss *= hardness;
                }
                Course::Likelihood => {
                    row.loss = -50.0 * (1.0 - progress) + 4.0 * noise * tail;
                }
            }
            row
        })
        .collect()
}

/// The norm of the weights after `trained` applied steps.
fn weights(trained: u64) -> f64 {
    10.0 + 0.002 * trained as f64
}

/// A fault of a simulated run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// One batch is scaled, so gradient and loss explode once.
    Batch,
    /// NaN in three batches.
    NotANumber,
    /// Wrong labels in four batches.
    Labels,
    /// The learning rate is multiplied by 100 for three steps.
    LearningRate,
    /// A weight's exponent bit flips.
    BitFlip,
    /// The data changes permanently.
    Data,
    /// Norm and loss grow until they overflow, unless the learning rate falls.
    Divergence,
}

const FAULTS: [Fault; 7] = [
    Fault::Batch,
    Fault::NotANumber,
    Fault::Labels,
    Fault::LearningRate,
    Fault::BitFlip,
    Fault::Data,
    Fault::Divergence,
];

fn reading(step: u64, row: Row) -> StepReading {
    let shares = [0.6f64, 0.64, 0.48];
    let tensors = shares.iter().enumerate().map(|(index, share)| NamedStats {
        name: format!("layer.{index}"),
        stats: TensorStats {
            tensor_norm: share * row.norm,
            max_abs: if row.norm.is_finite() {
                0.1 * row.norm
            } else {
                0.0
            },
            len: 1000,
            non_finite: u64::from(!row.norm.is_finite()),
            ..TensorStats::default()
        },
    });
    let gradients = GradientStats {
        tensors: tensors.collect(),
    };
    StepReading::new(step, row.loss, row.rate, gradients)
        .with_weight_norms(shares.map(|share| share * row.weights).to_vec())
        .with_update_norms(shares.map(|share| share * row.update).to_vec())
}

/// Three rules that people use, each with its own state.
struct Controls {
    norms: VecDeque<f64>,
    losses: VecDeque<f64>,
}

impl Controls {
    const NAMES: [&'static str; 3] = [
        "norm > 10 medians of 20",
        "OLMo, 6 sigma of 128",
        "loss > 3 means of 10",
    ];

    fn fire(&mut self, row: Row) -> [bool; 3] {
        let last = |values: &VecDeque<f64>, count: usize| -> Vec<f64> {
            values.iter().rev().take(count).copied().collect()
        };
        let median = {
            let mut sorted = last(&self.norms, 20);
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied()
        };
        let beyond = |values: &VecDeque<f64>, value: f64| {
            let values = last(values, 128);
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values
                .iter()
                .map(|value| (value - mean).powi(2))
                .sum::<f64>();
            values.len() >= 64 && value > mean + 6.0 * (variance / (count - 1.0)).sqrt()
        };
        let recent = last(&self.losses, 10);
        let mean = recent.iter().sum::<f64>() / recent.len() as f64;
        let fired = [
            self.norms.len() >= 5 && median.is_some_and(|median| row.norm > 10.0 * median),
            beyond(&self.norms, row.norm) || beyond(&self.losses, row.loss),
            !recent.is_empty() && row.loss > 3.0 * mean,
        ];
        let fired = fired.map(|fired| fired || !row.norm.is_finite() || !row.loss.is_finite());
        for (values, value) in [(&mut self.norms, row.norm), (&mut self.losses, row.loss)] {
            if value.is_finite() {
                values.push_back(value);
            }
            if values.len() > 128 {
                values.pop_front();
            }
        }
        fired
    }

    fn new() -> Self {
        Self {
            norms: VecDeque::new(),
            losses: VecDeque::new(),
        }
    }
}

/// The upper end of the Wilson 95 % interval of a share. A count of 0 gives `1 - 0.05^(1/n)`.
fn upper(count: u64, of: u64) -> f64 {
    let (n, p) = (of as f64, count as f64 / of as f64);
    if count == 0 {
        return 1.0 - 0.05f64.powf(1.0 / n);
    }
    let z = 1.96f64;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (centre + half) / (1.0 + z * z / n)
}

/// Steps at which the guard intervened, by intervention, and those at which each control did.
#[derive(Debug, Default, Clone, Copy)]
struct Touched {
    runs: u64,
    /// Clip, skip, lower, roll back, stop.
    rungs: [u64; 5],
    runs_touched: u64,
    suspicious: u64,
    controls: [u64; 3],
    controls_runs: [u64; 3],
}

fn rung(rung: Rung) -> Option<usize> {
    match rung {
        Rung::Keep => None,
        Rung::Clip => Some(0),
        Rung::Skip => Some(1),
        Rung::LowerLearningRate => Some(2),
        Rung::Rollback => Some(3),
        Rung::Stop => Some(4),
    }
}

fn false_alarms(first_seed: u64) -> Vec<(Course, Touched)> {
    let mut all = Vec::new();
    for (number, course) in COURSES.into_iter().enumerate() {
        let mut touched = Touched::default();
        for (level, noise) in NOISE.into_iter().enumerate() {
            for seed in 0..SEEDS {
                let seed = first_seed + seed + SEEDS * (level as u64 + 10 * number as u64);
                let mut guard = Guard::from(Preset::Default);
                let mut controls = Controls::new();
                let mut fired = [false; 3];
                let (mut trained, mut saved) = (0, Vec::new());
                for (step, mut row) in healthy(course, noise, seed).into_iter().enumerate() {
                    let step = step as u64;
                    if guard.wants_snapshot(step) {
                        saved.push((step, trained));
                        guard.snapshot_taken(step);
                    }
                    row.weights = weights(trained);
                    let judgement = guard.step(&reading(step, row));
                    match judgement.decision {
                        Decision::Rollback { to_step, .. } => {
                            let at = saved.iter().rposition(|saved| saved.0 == to_step);
                            trained = saved[at.expect("kept by the adapter")].1;
                            guard.rolled_back(to_step);
                        }
                        ref decision => trained += u64::from(decision.applies()),
                    }
                    touched.suspicious +=
                        u64::from(judgement.severity() >= Some(Severity::Suspicious));
                    if let Some(index) = rung(judgement.rung) {
                        touched.rungs[index] += 1;
                    }
                    for (index, now) in controls.fire(row).into_iter().enumerate() {
                        touched.controls[index] += u64::from(now);
                        fired[index] |= now;
                    }
                }
                touched.runs += 1;
                touched.runs_touched += u64::from(guard.summary().kept != STEPS);
                for (runs, fired) in touched.controls_runs.iter_mut().zip(fired) {
                    *runs += u64::from(fired);
                }
            }
        }
        all.push((course, touched));
    }
    all
}

/// The outcome of the runs with one fault.
#[derive(Debug, Default)]
struct Faulty {
    runs: u64,
    detected: u64,
    /// Runs that ended finite, undamaged and without a stop.
    recovered: u64,
    /// Runs in which a faulty update reached the weights.
    applied: u64,
    lost: Vec<u64>,
    dropped: Vec<u64>,
    /// Steps from the first harmful detection to the first non-finite value of an observed run.
    leads: Vec<i64>,
    control_leads: [Vec<i64>; 3],
}

/// The row of a run whose fault began `age` readings ago and whose weights have this `damage`.
fn faulty(fault: Fault, row: Row, age: Option<u64>, damage: f64, severity: f64) -> Row {
    let mut row = row;
    if damage > 0.0 {
        // An absolute loss is added, so that the damage shows at every level.
        row.loss = row.loss.abs() * damage + 20.0 * damage;
        row.norm *= 10.0 * damage;
    }
    let Some(age) = age else { return row };
    match fault {
        Fault::Batch if age == 0 => {
            row.loss = row.loss.abs() * severity + severity;
            row.norm *= 100.0 * severity;
        }
        Fault::NotANumber if age < 3 => {
            row.loss = f64::NAN;
            row.norm = f64::NAN;
        }
        Fault::Labels if age < 4 => {
            row.loss = row.loss.abs() + 8.0;
            row.norm *= 5.0;
        }
        Fault::LearningRate if age < 3 => row.rate *= 100.0,
        Fault::Data => {
            row.loss = row.loss.abs() + 10.0;
            row.norm *= 20.0;
        }
        _ => {}
    }
    row
}

fn faults(first_seed: u64) -> Vec<(Fault, Faulty)> {
    let mut all = Vec::new();
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let mut outcome = Faulty::default();
        for seed in 0..50u64 {
            let seed = first_seed + 100_000 + seed + 100 * number as u64;
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let course = [Course::Decay, Course::Plateau, Course::Schedule][seed as usize % 3];
            let rows = healthy(course, NOISE[seed as usize % 3], seed);
            let begin = random.random_range(100..600u64);
            let severity = 10f64.powf(random.random_range(2.0..6.0));
            let rate = random.random_range(1.15..2.0f64);
            if fault == Fault::Divergence {
                lead(&rows, begin, rate, &mut outcome);
            }
            recover(fault, &rows, begin, severity, rate, &mut outcome);
        }
        all.push((fault, outcome));
    }
    all
}

/// Runs a divergence that a guard only observes.
fn lead(rows: &[Row], begin: u64, rate: f64, outcome: &mut Faulty) {
    let mut guard = Guard::from(Preset::Observe);
    let mut controls = Controls::new();
    let mut first = [None; 4];
    for (step, row) in rows.iter().enumerate() {
        let mut row = *row;
        let step = step as u64;
        if let Some(age) = step.checked_sub(begin) {
            row.norm *= rate.powi(age as i32);
            row.loss += 0.02 * (rate.powi(age as i32) - 1.0);
            if row.norm > f64::from(f32::MAX) || row.loss > f64::from(f32::MAX) {
                for (index, first) in first.into_iter().enumerate() {
                    let lead = first.map_or(-1, |first: u64| step as i64 - first as i64);
                    match index.checked_sub(1) {
                        None => outcome.leads.push(lead),
                        Some(control) => outcome.control_leads[control].push(lead),
                    }
                }
                return;
            }
        }
        let harmful = guard.step(&reading(step, row)).severity() >= Some(Severity::Harmful);
        let controls = controls.fire(row);
        if step >= begin {
            for (first, now) in
                first
                    .iter_mut()
                    .zip([harmful, controls[0], controls[1], controls[2]])
            {
                if now {
                    first.get_or_insert(step);
                }
            }
        }
    }
}

/// Runs a guarded run. An applied faulty update damages the weights; a rollback undoes the damage.
fn recover(fault: Fault, rows: &[Row], begin: u64, severity: f64, rate: f64, outcome: &mut Faulty) {
    let mut guard = Guard::from(Preset::Default);
    // The damage to the weights at each snapshot.
    let mut saved: Vec<(u64, u64, f64, f64)> = Vec::new();
    let (mut damage, mut growth) = (0.0f64, 0.0f64);
    let (mut detected, mut applied, mut stopped) = (false, false, false);
    let (mut lost, mut dropped) = (0, 0);
    // Data and steps continue after a rollback. `trained` counts the updates in the weights.
    let mut trained = 0u64;
    for (step, row) in rows.iter().enumerate() {
        let step = step as u64;
        if guard.wants_snapshot(step) {
            saved.push((step, trained, damage, growth));
            guard.snapshot_taken(step);
        }
        let age = step.checked_sub(begin);
        if fault == Fault::BitFlip && age == Some(0) {
            damage = 1.0;
        }
        let usual = row.rate;
        let mut row = faulty(fault, *row, age, damage, severity);
        row.weights = weights(trained);
        if fault == Fault::BitFlip && damage > 0.0 {
            row.weights *= severity;
        }
        row.norm *= growth.exp();
        row.loss += 0.02 * (growth.exp() - 1.0);
        let judgement = guard.step(&reading(step, row));
        let bad = match fault {
            Fault::Batch => age == Some(0),
            Fault::NotANumber => age.is_some_and(|age| age < 3),
            // A learning rate that the guard has lowered enough does no harm.
            Fault::LearningRate => row.rate * judgement.learning_rate_scale > 2.0 * usual,
            _ => false,
        };
        detected |= age.is_some() && judgement.severity() >= Some(Severity::Harmful);
        match judgement.decision {
            Decision::Rollback { to_step, .. } => {
                let at = saved.iter().rposition(|saved| saved.0 == to_step);
                let (_, then, damaged, grown) = saved[at.expect("kept by the adapter")];
                lost += trained - then;
                (trained, damage, growth) = (then, damaged, grown);
                guard.rolled_back(to_step);
            }
            Decision::Stop { .. } => {
                stopped = true;
                break;
            }
            ref decision if decision.applies() => {
                trained += 1;
                if bad {
                    applied = true;
                    damage = 1.0;
                }
                // The learning rate is too high for these steps. At a lower rate the growth
                // shrinks.
                if fault == Fault::Divergence && age.is_some_and(|age| age < 200) {
                    let low = judgement.learning_rate_scale <= 0.5;
                    growth = (growth + if low { -rate.ln() } else { rate.ln() }).max(0.0);
                } else if growth > 0.0 {
                    growth = (growth - rate.ln()).max(0.0);
                }
            }
            _ => dropped += 1,
        }
    }
    outcome.runs += 1;
    outcome.detected += u64::from(detected);
    outcome.applied += u64::from(applied);
    outcome.recovered += u64::from(!stopped && damage == 0.0 && growth < 1.0);
    outcome.lost.push(lost);
    outcome.dropped.push(dropped);
}

fn quantile<T: Ord + Copy + Default>(values: &[T], share: f64) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

/// Measures microseconds per step with 60 parameters, as the median of ten passes.
fn cost() -> f64 {
    let mut times: Vec<f64> = (0..10)
        .map(|seed| {
            let rows = healthy(Course::Decay, 0.3, seed);
            let readings: Vec<StepReading> = rows
                .iter()
                .enumerate()
                .map(|(step, row)| {
                    let one = reading(step as u64, *row);
                    let mut all = one.clone();
                    for copy in 1..20 {
                        all.gradients
                            .tensors
                            .extend(one.gradients.tensors.iter().map(|tensor| NamedStats {
                                name: format!("{}.{copy}", tensor.name),
                                ..tensor.clone()
                            }));
                        all.weight_norms.extend(&one.weight_norms);
                        all.update_norms.extend(&one.update_norms);
                    }
                    all
                })
                .collect();
            let mut guard = Guard::from(Preset::Default);
            let begin = Instant::now();
            for reading in &readings {
                if guard.wants_snapshot(reading.step) {
                    guard.snapshot_taken(reading.step);
                }
                black_box(guard.step(reading));
            }
            1e6 * begin.elapsed().as_secs_f64() / STEPS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[5]
}

#[expect(clippy::print_stdout, reason = "an example")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let first_seed = match std::env::args().nth(1) {
        Some(seed) => seed.parse()?,
        None => 2_000_000,
    };
    print_false_alarms(first_seed);
    print_faults(first_seed);
    println!(
        "\n{:.2} us a step with 60 parameters, snapshots noted every 20 steps",
        cost()
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example")]
fn print_false_alarms(first_seed: u64) {
    println!("healthy runs of {STEPS} steps, seeds from {first_seed} on\n");
    println!(
        "| course | runs | clipped | skipped | lowered | rolled back | stopped | suspicious | runs touched | {} |",
        Controls::NAMES.join(" | ")
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut total = Touched::default();
    for (course, touched) in false_alarms(first_seed) {
        row(&format!("{course:?}"), &touched);
        total.runs += touched.runs;
        total.runs_touched += touched.runs_touched;
        total.suspicious += touched.suspicious;
        for index in 0..5 {
            total.rungs[index] += touched.rungs[index];
        }
        for index in 0..3 {
            total.controls[index] += touched.controls[index];
            total.controls_runs[index] += touched.controls_runs[index];
        }
    }
    row("all", &total);
    let steps = total.runs * STEPS;
    println!(
        "\nskips: {:.2e} of steps (95 % bound {:.2e}); runs touched: {:.2e} (bound {:.2e}); \
         rollbacks: {} of {} runs (bound {:.2e})\ncontrols, of steps: {:?}, runs touched: {:?}",
        total.rungs[1] as f64 / steps as f64,
        upper(total.rungs[1], steps),
        total.runs_touched as f64 / total.runs as f64,
        upper(total.runs_touched, total.runs),
        total.rungs[3],
        total.runs,
        upper(total.rungs[3], total.runs),
        total.controls.map(|count| count as f64 / steps as f64),
        total.controls_runs,
    );
}

#[expect(clippy::print_stdout, reason = "an example")]
fn print_faults(first_seed: u64) {
    println!(
        "\n| fault | runs | detected | applied | recovered | batches dropped, median (max) | steps lost, median (max) |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (fault, seen) in faults(first_seed) {
        println!(
            "| {fault:?} | {} | {} | {} | {} | {} ({}) | {} ({}) |",
            seen.runs,
            seen.detected,
            seen.applied,
            seen.recovered,
            quantile(&seen.dropped, 0.5),
            quantile(&seen.dropped, 1.0),
            quantile(&seen.lost, 0.5),
            quantile(&seen.lost, 1.0),
        );
        if fault == Fault::Divergence {
            let leads = |leads: &[i64]| {
                let missed = leads.iter().filter(|lead| **lead < 1).count();
                format!(
                    "missed {missed} of {}, lead {} / {} / {} steps (least, median, most)",
                    leads.len(),
                    quantile(leads, 0.0),
                    quantile(leads, 0.5),
                    quantile(leads, 1.0)
                )
            };
            println!(
                "\nunguarded divergence until f32 overflows: {}",
                leads(&seen.leads)
            );
            for (name, control) in Controls::NAMES.iter().zip(&seen.control_leads) {
                println!("- {name}: {}", leads(control));
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example")]
fn row(name: &str, touched: &Touched) {
    let rungs: Vec<String> = touched.rungs.iter().map(u64::to_string).collect();
    let controls: Vec<String> = touched.controls.iter().map(u64::to_string).collect();
    println!(
        "| {name} | {} | {} | {} | {} | {} |",
        touched.runs,
        rungs.join(" | "),
        touched.suspicious,
        touched.runs_touched,
        controls.join(" | ")
    );
}
