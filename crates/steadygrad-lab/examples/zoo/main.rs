//! Judges the zoo, about a thousand runs, by steadygrad's rules and by the rules of other tools.
//!
//! `cargo run --release -p steadygrad-lab --example zoo -- [tuning | held-out | fresh SAMPLE]
//! [--list] [--traces FILE]` takes about three minutes a part on two cores and prints Markdown.
//! `--list` adds every run that was judged wrong. `--traces` writes the runs' losses, norms and
//! learning rates to an Arrow file. Choose thresholds on the tuning part only. A fresh sample is as
//! large as both parts together. It counts as held out until someone reads its tables.
#![allow(
    clippy::print_stdout,
    reason = "an experiment reports to its standard output"
)]

mod traces;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use steadygrad::detect::{Detector, Severity};
use steadygrad::diagnose::{Finding, FindingLevel, History, diagnose_run};
use steadygrad_lab::faults::Fault;
use steadygrad_lab::unstable::zoo::{FinalState, PEERS, Part, Run, configurations, fresh, run};

/// A run with its findings.
struct Judged {
    run: Run,
    findings: Vec<Finding>,
    /// The first step with a suspicious detection of the guard's detectors.
    suspicious: Option<u64>,
    /// The first step with a harmful detection.
    harmful: Option<u64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of_part = |part: Part| {
        let all = configurations().into_iter();
        all.filter(|one| one.part() == part).collect::<Vec<_>>()
    };
    let (name, all) = match arguments.first().map(String::as_str) {
        Some("tuning") => ("tuning part".into(), of_part(Part::Tuning)),
        Some("fresh") => {
            let sample = arguments.get(1).and_then(|sample| sample.parse().ok());
            let sample = sample.expect("`fresh` takes a number");
            (format!("fresh sample {sample}"), fresh(sample))
        }
        first if first.is_none_or(|first| first == "held-out" || first.starts_with("--")) => {
            ("held-out part".to_owned(), of_part(Part::HeldOut))
        }
        other => panic!("give `tuning`, `held-out` or `fresh SAMPLE` first, not {other:?}"),
    };
    let list = arguments.iter().any(|argument| argument == "--list");
    let traces = arguments
        .iter()
        .position(|argument| argument == "--traces")
        .map(|at| arguments.get(at + 1).expect("`--traces` takes a file"));
    let (next, judged) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let device = Device::flex().autodiff();
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run(one, &device).expect("the zoo's faults fit");
                    judged.lock().expect("no thread panics").push(judge(run));
                }
            });
        }
    });
    let mut judged = judged.into_inner().expect("no thread panics");
    judged.sort_by_cached_key(|one| one.run.configuration.name());
    if let Some(path) = traces {
        let runs: Vec<&Run> = judged.iter().map(|one| &one.run).collect();
        traces::write(Path::new(path), &runs).expect("the file can be written");
    }
    println!("# The zoo, {name}: {} runs\n", judged.len());
    kinds(&judged);
    detection(&judged);
    faults(&judged);
    confidence(&judged);
    if list {
        wrong(&judged);
    }
}

fn judge(run: Run) -> Judged {
    let history = History::of(&run.trace);
    let first = |least: Severity| {
        let mut seen = history.seen();
        seen.find(|(_, seen)| seen.severity >= least && seen.detector != Detector::NonFinite)
            .map(|(_, seen)| seen.step)
    };
    let (suspicious, harmful) = (first(Severity::Suspicious), first(Severity::Harmful));
    let findings = diagnose_run(&history);
    Judged {
        findings,
        suspicious,
        harmful,
        run,
    }
}

/// Whether the run has no fault.
fn is_clean(one: &Judged) -> bool {
    one.run.configuration.fault.is_none()
}

/// Whether the run is healthy and has no fault.
fn is_healthy(one: &Judged) -> bool {
    one.run.final_state == FinalState::Healthy && is_clean(one)
}

/// Whether the run neither failed nor spiked, even if it learnt nothing.
fn stayed_well(one: &Judged) -> bool {
    matches!(
        one.run.final_state,
        FinalState::Healthy | FinalState::Unlearnt
    )
}

/// Whether any finding is more severe than a note.
fn alarms(judged: &Judged) -> bool {
    judged
        .findings
        .iter()
        .any(|finding| finding.level > FindingLevel::Note)
}

fn kinds(judged: &[Judged]) {
    let mut counts: BTreeMap<&str, BTreeMap<FinalState, usize>> = BTreeMap::new();
    for one in judged {
        let family = counts
            .entry(one.run.configuration.architecture.family())
            .or_default();
        *family.entry(one.run.final_state).or_default() += 1;
    }
    println!(
        "| family | healthy | learnt nothing | recovered | diverged | non-finite |\n\
         |---|---|---|---|---|---|"
    );
    for (family, of) in counts {
        let count = |final_state| of.get(&final_state).copied().unwrap_or(0);
        println!(
            "| {family} | {} | {} | {} | {} | {} |",
            count(FinalState::Healthy),
            count(FinalState::Unlearnt),
            count(FinalState::Recovered),
            count(FinalState::Diverged),
            count(FinalState::NonFinite)
        );
    }
}

fn detection(judged: &[Judged]) {
    println!(
        "\n## Failing runs found, and healthy runs with an alarm (95 % intervals)\n\n\
         Lead: median number of steps from the alarm to the first non-finite value, over runs \
         without a fault or with one that builds up, that fail after step 20; -1: no such run. \
         Runs that learnt nothing are neither healthy nor failing.\n\n\
         | rule | failing runs found | healthy runs with an alarm | of those that learnt nothing \
         | lead |\n|---|---|---|---|---|"
    );
    // A diagnosis is made after the run, so it has no lead time.
    row("steadygrad diagnose, any warning or error", judged, |one| {
        alarms(one).then_some(None)
    });
    row(
        "steadygrad's detectors while it runs, suspicious",
        judged,
        |one| online(one, one.suspicious),
    );
    row(
        "steadygrad's detectors while it runs, harmful",
        judged,
        |one| online(one, one.harmful),
    );
    for peer in PEERS {
        row(peer.name, judged, |one| {
            (peer.first_alarm)(&one.run).map(Some)
        });
    }
    // The controls are trivial rules.
    row("control: a value that is not finite", judged, |one| {
        one.run.first_non_finite.map(Some)
    });
    row("control: learning rate above 0.1", judged, |one| {
        (one.run.configuration.learning_rate > 0.1).then_some(Some(0))
    });
}

/// The first alarm of a detector. A non-finite value counts as an alarm.
fn online(one: &Judged, seen: Option<u64>) -> Option<Option<u64>> {
    let first = [seen, one.run.first_non_finite].into_iter().flatten().min();
    first.map(Some)
}

fn row(name: &str, judged: &[Judged], alarm: impl Fn(&Judged) -> Option<Option<u64>>) {
    let of = |wanted: &dyn Fn(&Judged) -> bool| {
        let all: Vec<&Judged> = judged.iter().filter(|one| wanted(one)).collect();
        let found = all.iter().filter(|one| alarm(one).is_some()).count();
        interval(found, all.len())
    };
    // No rule can warn before a sudden failure.
    let builds_up = |one: &&Judged| {
        let fault = one.run.configuration.fault.as_ref();
        fault.is_none_or(Fault::builds_up)
    };
    let mut leads: Vec<i64> = judged
        .iter()
        .filter(builds_up)
        .filter_map(|one| {
            let end = one.run.first_non_finite.filter(|end| *end > 20)?;
            Some(match alarm(one) {
                Some(Some(step)) if step <= end => (end - step) as i64,
                Some(None) => return None,
                // There is no alarm, or it is too late.
                _ => -1,
            })
        })
        .collect();
    leads.sort_unstable();
    let lead = match leads.get(leads.len() / 2) {
        Some(lead) => format!("{lead} of {} runs", leads.len()),
        None => "-".into(),
    };
    let healthy = of(&is_healthy);
    let unlearnt = |one: &Judged| one.run.final_state == FinalState::Unlearnt && is_clean(one);
    println!(
        "| {name} | {} | {healthy} | {} | {lead} |",
        of(&|one| one.run.final_state.failed()),
        of(&unlearnt)
    );
}

/// Formats a share with its Wilson interval.
fn interval(found: usize, all: usize) -> String {
    const Z: f64 = 1.96;
    if all == 0 {
        return "none".into();
    }
    let (count, share) = (all as f64, found as f64 / all as f64);
    let scale = 1.0 + Z * Z / count;
    let middle = (share + Z * Z / (2.0 * count)) / scale;
    let half = Z / scale * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
    format!(
        "{:.1} % ({found} of {all}; {:.1} to {:.1})",
        100.0 * share,
        100.0 * (middle - half).max(0.0),
        100.0 * (middle + half).min(1.0)
    )
}

/// The rules that correctly name a fault.
fn expected(fault: &Fault) -> &'static [&'static str] {
    match fault {
        Fault::ScaledBatch(_) | Fault::PoisonedBatch(_) => &["SG009"],
        // These faults distort batches over several steps.
        Fault::RotatedLabels(_) | Fault::ShiftedData(_) => &["SG009", "SG005"],
        Fault::LearningRateSpike(_) | Fault::LearningRateGrowth(_) => &["SG014"],
        Fault::BitFlip(_) | Fault::WeightGrowth(_) => &["SG008"],
        Fault::F16Overflow(_) => &["SG010"],
        Fault::LabelNoise(_) => &["SG005", "SG009", "SG015"],
        other => panic!("no rule is listed for {}", other.name()),
    }
}

fn right_rule(one: &Judged, fault: &Fault) -> bool {
    one.findings
        .first()
        .is_some_and(|finding| expected(fault).contains(&finding.code.as_str()))
}

/// Whether the headline's steps overlap the steps of the fault, or the twenty steps after it.
fn right_time(one: &Judged, fault: &Fault) -> bool {
    let (from, until) = (
        fault.at_step(),
        fault.at_step() + fault.steps().unwrap_or(80) + 20,
    );
    one.findings.first().is_some_and(|finding| {
        let begin = finding.step.unwrap_or(0);
        let end = finding.until.unwrap_or(begin);
        end + 1 >= from && begin <= until
    })
}

fn faults(judged: &[Judged]) {
    println!(
        "\n## Faults put in\n\n\
         | fault | runs | without effect | right rule first | right steps | headlines |\n\
         |---|---|---|---|---|---|"
    );
    let mut by_fault: BTreeMap<&str, Vec<(&Judged, &Fault)>> = BTreeMap::new();
    for one in judged {
        if let Some(fault) = &one.run.configuration.fault {
            by_fault.entry(fault.name()).or_default().push((one, fault));
        }
    }
    let mut all = (0, 0, 0);
    for (name, runs) in &by_fault {
        // No alarm, and the run stayed healthy.
        let idle = |(one, _): &&(&Judged, &Fault)| stayed_well(one) && !alarms(one);
        let shown: Vec<_> = runs.iter().filter(|run| !idle(run)).collect();
        let rule = shown
            .iter()
            .filter(|(one, fault)| right_rule(one, fault))
            .count();
        let time = shown
            .iter()
            .filter(|(one, fault)| right_time(one, fault))
            .count();
        let mut headlines: BTreeMap<&str, usize> = BTreeMap::new();
        for (one, _) in &shown {
            let code = one
                .findings
                .first()
                .map_or("none", |finding| finding.code.as_str());
            *headlines.entry(code).or_default() += 1;
        }
        let headlines: Vec<String> = headlines
            .iter()
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        println!(
            "| {name} | {} | {} | {rule} of {} | {time} of {} | {} |",
            runs.len(),
            runs.len() - shown.len(),
            shown.len(),
            shown.len(),
            headlines.join(", ")
        );
        all = (all.0 + shown.len(), all.1 + rule, all.2 + time);
    }
    println!(
        "\nRight rule first {}, right steps {}.",
        interval(all.1, all.0),
        interval(all.2, all.0)
    );
}

/// Whether the headline names the fault and its steps. In a run without a fault, a headline is
/// right if the run did not stay healthy.
fn is_right(one: &Judged) -> bool {
    match &one.run.configuration.fault {
        Some(fault) => right_rule(one, fault) && right_time(one, fault),
        None => !stayed_well(one),
    }
}

/// Compares the confidence of headlines with their measured hit rate.
fn confidence(judged: &[Judged]) {
    println!(
        "\n## Confidence: headlines that are right\n\n\
         A headline is right if it names the fault and its steps; in a run without a fault, if the \
         run did not stay healthy.\n\n| headline | runs | claimed | right |\n|---|---|---|---|"
    );
    // The confidence of a headline is that of its rule.
    let mut by_code: BTreeMap<&str, (Option<f64>, usize, usize)> = BTreeMap::new();
    for one in judged.iter().filter(|one| alarms(one)) {
        let headline = &one.findings[0];
        let (claimed, right, count) = by_code.entry(&headline.code).or_default();
        *claimed = headline.confidence;
        *right += usize::from(is_right(one));
        *count += 1;
    }
    let (mut off, mut all) = (0.0, 0);
    for (code, (claimed, right, count)) in by_code {
        let claim = claimed.map_or("none".into(), |claimed| format!("{claimed:.3}"));
        println!(
            "| {code} | {count} | {claim} | {} |",
            interval(right, count)
        );
        if let Some(claimed) = claimed {
            off += (claimed * count as f64 - right as f64).abs();
            all += count;
        }
    }
    println!(
        "\nExpected calibration error {:.4} over {all} headlines.",
        off / all as f64
    );
}

fn wrong(judged: &[Judged]) {
    println!("\n## Judged wrong\n");
    for one in judged {
        let missed = one.run.final_state.failed() && !alarms(one);
        let false_alarm = is_healthy(one) && alarms(one);
        let misnamed = one.run.configuration.fault.as_ref().is_some_and(|fault| {
            (alarms(one) || one.run.final_state.failed()) && !right_rule(one, fault)
        });
        let why = match (missed, false_alarm, misnamed) {
            (true, ..) => "missed",
            (_, true, _) => "false alarm",
            (.., true) => "misnamed",
            _ => continue,
        };
        let said: Vec<String> = one
            .findings
            .iter()
            .map(|finding| format!("{} {}", finding.code, finding.title))
            .collect();
        let losses = one.run.trace.series[0].values();
        let begin: Vec<String> = losses
            .iter()
            .take(6)
            .map(|loss| format!("{loss:.3e}"))
            .collect();
        let end: Vec<String> = losses
            .iter()
            .rev()
            .take(3)
            .map(|loss| format!("{loss:.3e}"))
            .collect();
        println!(
            "- {why}: {} [{} .. {}] ({}, metric {:.3}): {}",
            one.run.configuration.name(),
            begin.join(" "),
            end.join(" "),
            one.run.final_state.name(),
            one.run.validation_metric,
            said.join("; ")
        );
    }
}
