//! Trains faulty and clean runs with and without a guard. Does a faulty run survive, and does the
//! guard leave a healthy run alone?
//!
//! `cargo run --release -p steadygrad-lab --example survival -- [FAULTY_SEEDS] [CLEAN_SEEDS]
//! [FIRST]` takes about 12 minutes on two cores with the defaults, 10, 100 and 9,000. The seeds
//! differ from those of the baselines (below 1,000) and of the guard's settings (1,000 to 1,099,
//! 5,000 and 5,001). It prints Markdown.
//!
//! A run has recovered if its last model is finite and its validation metric is at most 0.01 below
//! that of the clean run. Both have the same seed. For a fault that changes weights the limit is
//! 0.02.
#![allow(
    clippy::print_stdout,
    reason = "an experiment reports to its standard output"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::Device;
use steadygrad::guard::Preset;
use steadygrad::remedy::{ClipGlobalNorm, Remedy};
use steadygrad_lab::faults::{Fault, Faults};
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::unstable::train_unguarded;
use steadygrad_lab::{Control, Plan, Rollback, Silent, Subject, TrainEnd, TrainOptions, train};

const FIRST_SEED: u64 = 9_000;
const SUBJECTS: [&str; 3] = ["mlp", "cnn", "rnn"];

/// One run in all its variants.
struct Row {
    subject: &'static str,
    /// `None` for a clean run.
    fault: Option<Fault>,
    clean: f64,
    unguarded: f64,
    clipped: f64,
    guarded: f64,
    stopped: bool,
    skipped: u64,
    rolled_back: usize,
    touched: bool,
    readings: u64,
    lost: Vec<u64>,
    /// Steps from the first alarm to the first non-finite value of the unguarded run.
    lead: Option<i64>,
    unguarded_non_finite: Option<u64>,
    alarm: Option<u64>,
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok());
    let faulty: u64 = arguments.next().unwrap_or(10);
    let clean: u64 = arguments.next().unwrap_or(100);
    let first = arguments.next().unwrap_or(FIRST_SEED);
    let jobs: Vec<(usize, u64)> = (0..faulty.max(clean))
        .flat_map(|seed| (0..SUBJECTS.len()).map(move |subject| (subject, seed)))
        .collect();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(&(subject, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let device = Device::flex().autodiff();
                    let seeds = (first + seed, seed < faulty);
                    let found = match subject {
                        0 => {
                            let (one, plan) = healthy::mlp(&device);
                            compare(SUBJECTS[0], &one, plan, seeds, &device)
                        }
                        1 => {
                            let (one, plan) = healthy::cnn(&device);
                            compare(SUBJECTS[1], &one, plan, seeds, &device)
                        }
                        _ => {
                            let (one, plan) = healthy::rnn();
                            compare(SUBJECTS[2], &one, plan, seeds, &device)
                        }
                    };
                    rows.lock().expect("no thread panics").extend(found);
                }
            });
        }
    });
    report(&rows.into_inner().expect("no thread panics"));
}

fn compare<S: Subject>(
    name: &'static str,
    subject: &S,
    plan: Plan,
    (seed, faulty): (u64, bool),
    device: &Device,
) -> Vec<Row> {
    let plan = Plan { seed, ..plan };
    let clip = Plan {
        remedies: vec![Remedy::ClipGlobalNorm(ClipGlobalNorm { max_norm: 1.0 })],
        ..plan.clone()
    };
    let unguarded = |plan: &Plan, faults: &Faults| {
        train_unguarded(subject, plan, faults, device).expect("the faults fit")
    };
    let none = Faults::default();
    let clean = unguarded(&plan, &none).validation_metric;
    // The fault starts at a quarter of the run, while the CNN and the RNN still learn.
    let faults = Fault::all(plan.steps / 4);
    let wanted = std::iter::once(None).chain(faults.into_iter().filter(|_| faulty).map(Some));
    wanted
        .map(|fault| {
            let faults = Faults::new(fault.clone().into_iter().collect(), seed).expect("defaults");
            let (bare, clipped) = if fault.is_some() {
                (unguarded(&plan, &faults), unguarded(&clip, &faults))
            } else {
                (unguarded(&plan, &none), unguarded(&clip, &none))
            };
            let cancelled = AtomicBool::new(false);
            let control = Control {
                cancelled: &cancelled,
                progress: &Silent,
            };
            let options = TrainOptions {
                name,
                guard: Preset::Default.into(),
                faults: &faults,
                run_dir: None,
                resume: false,
                notes: &[],
            };
            let (run, _) =
                train(subject, &plan, &options, device, control).expect("nothing is recorded");
            let at = fault.as_ref().map(Fault::at_step);
            // An alarm before the fault has another cause.
            let alarm = run
                .first_alarm
                .filter(|alarm| at.is_none_or(|at| *alarm >= at));
            let lead = bare
                .first_non_finite
                .zip(alarm)
                .map(|(broken, alarm)| broken as i64 - alarm as i64);
            Row {
                subject: name,
                clean,
                unguarded: bare.validation_metric,
                clipped: clipped.validation_metric,
                guarded: run.validation_metric,
                stopped: run.end != TrainEnd::Completed,
                skipped: run.guard.skipped,
                rolled_back: run.rollbacks.len(),
                touched: run.guard.kept != run.guard.readings,
                readings: run.guard.readings,
                lost: lost(&run.rollbacks),
                lead,
                unguarded_non_finite: bare.first_non_finite,
                alarm,
                fault,
            }
        })
        .collect()
}

/// Counts the updates that each rollback discards. A rollback that the next one takes back does not
/// count.
fn lost(rollbacks: &[Rollback]) -> Vec<u64> {
    let mut lost = Vec::new();
    for (index, rollback) in rollbacks.iter().enumerate() {
        let taken_back = index > 0 && rollbacks[index - 1].at_step == rollback.to_step;
        if taken_back {
            lost.pop();
        }
        lost.push(rollback.at_step - rollback.to_step);
    }
    lost
}

fn report(rows: &[Row]) {
    let recovered = |row: &Row, metric: f64| {
        let corrupts = row.fault.as_ref().is_some_and(Fault::corrupts_weights);
        let allowed = if corrupts { 0.02 } else { 0.01 };
        metric.is_finite() && metric >= row.clean - allowed
    };
    let faulty: Vec<&Row> = rows.iter().filter(|row| row.fault.is_some()).collect();
    let count =
        |rows: &[&Row], good: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| good(row)).count();
    println!("## Faulty runs: {}\n", faulty.len());
    println!(
        "| fault | subject | runs | recovered: no guard | clip=1 | guard | stopped | skips, median \
         | rollbacks | lead to the first non-finite value, least and median |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut groups: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in &faulty {
        let name = row.fault.as_ref().map_or("", Fault::name);
        groups.entry((name, row.subject)).or_default().push(row);
    }
    for ((fault, subject), group) in &groups {
        let leads: Vec<f64> = group
            .iter()
            .filter_map(|row| row.lead)
            .map(|l| l as f64)
            .collect();
        let lead = if leads.is_empty() {
            "-".into()
        } else {
            let least = leads.iter().copied().fold(f64::INFINITY, f64::min);
            format!("{least}, {} (of {})", median(&leads), leads.len())
        };
        let skips: Vec<f64> = group.iter().map(|row| row.skipped as f64).collect();
        println!(
            "| {fault} | {subject} | {} | {} | {} | {} | {} | {} | {} | {lead} |",
            group.len(),
            count(group, &|row| recovered(row, row.unguarded)),
            count(group, &|row| recovered(row, row.clipped)),
            count(group, &|row| recovered(row, row.guarded)),
            count(group, &|row| row.stopped),
            median(&skips),
            group.iter().map(|row| row.rolled_back).sum::<usize>(),
        );
    }
    let share = |good: usize, all: usize| 100.0 * good as f64 / all.max(1) as f64;
    let guarded = count(&faulty, &|row| recovered(row, row.guarded));
    println!(
        "\nRecovered: nobody {:.1} %, clip=1 {:.1} %, guard {:.1} % ({guarded} of {}).",
        share(
            count(&faulty, &|row| recovered(row, row.unguarded)),
            faulty.len()
        ),
        share(
            count(&faulty, &|row| recovered(row, row.clipped)),
            faulty.len()
        ),
        share(guarded, faulty.len()),
        faulty.len(),
    );
    let lost: Vec<f64> = faulty
        .iter()
        .flat_map(|row| &row.lost)
        .map(|l| *l as f64)
        .collect();
    println!(
        "Steps lost to a rollback: median {}, of {}.",
        median(&lost),
        lost.len()
    );
    let builds_up: Vec<&Row> = faulty
        .iter()
        .copied()
        .filter(|row| row.fault.as_ref().is_some_and(Fault::builds_up))
        .filter(|row| row.unguarded_non_finite.is_some())
        .collect();
    println!(
        "Faults that build up and end in a non-finite value unguarded: {}; seen before it: {}.",
        builds_up.len(),
        count(&builds_up, &|row| row.lead.is_some_and(|lead| lead > 0)),
    );
    let unseen: Vec<&Row> = faulty
        .iter()
        .copied()
        .filter(|row| !recovered(row, row.guarded))
        .collect();
    for row in unseen {
        println!(
            "- not recovered: {} {}: clean {:.4}, guarded {:.4}, unguarded {:.4}, alarm {:?}, \
             skips {}, rollbacks {}, stopped {}",
            row.fault.as_ref().map_or("", Fault::name),
            row.subject,
            row.clean,
            row.guarded,
            row.unguarded,
            row.alarm,
            row.skipped,
            row.rolled_back,
            row.stopped,
        );
    }

    let clean: Vec<&Row> = rows.iter().filter(|row| row.fault.is_none()).collect();
    let readings: u64 = clean.iter().map(|row| row.readings).sum();
    let skipped: u64 = clean.iter().map(|row| row.skipped).sum();
    println!("\n## Clean runs: {}\n", clean.len());
    println!(
        "Rollbacks {}, skips {skipped} of {readings} steps ({:.4} %), runs touched in any way {}, \
         stopped {}.",
        clean.iter().map(|row| row.rolled_back).sum::<usize>(),
        100.0 * skipped as f64 / readings.max(1) as f64,
        count(&clean, &|row| row.touched),
        count(&clean, &|row| row.stopped),
    );
    for subject in SUBJECTS {
        let differences = |metric: fn(&Row) -> f64| -> Vec<f64> {
            let own = clean.iter().filter(|row| row.subject == subject);
            own.map(|row| metric(row) - row.clean).collect()
        };
        println!(
            "{subject}: guarded minus unguarded {}; control, clip=1 minus unguarded {}.",
            paired(&differences(|row| row.guarded)),
            paired(&differences(|row| row.clipped)),
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Formats the mean of paired differences, its standard error, and the number of non-zero ones.
fn paired(differences: &[f64]) -> String {
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let error = (squares / (n - 1.0) / n).sqrt();
    let differ = differences.iter().filter(|d| **d != 0.0).count();
    format!("{mean:+.5} ± {error:.5} ({differ} of {n} differ)")
}
