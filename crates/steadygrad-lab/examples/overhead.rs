//! What the guard costs: a step with everything on (detectors, record, snapshots at their default
//! interval) against a bare step of the same training loop. Bare has Burn's own optimizer; beside
//! it, bare with the one that makes a step in one pass, which the guarded ones have, and a guard in
//! a loop of one's own around Burn's.
//!
//! All of them train side by side, each in a process of its own, and take turns of [`LAP`] steps,
//! so that a machine that is slower for a while is slower for all of them. Where a process happens
//! to have its memory makes it faster or slower by some percent for as long as it lives: all are
//! started again for each heat. Shown is the median over the heats of each one's time over the bare
//! one's, with the quartiles. Snapshots are due by the clock, which goes on in others' turns: they
//! are left out, and come in again by the share of the time that they take in a run by itself.
//!
//! glibc gives memory back to the system and asks for it again, at some steps more than at others;
//! with `MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000` in the environment,
//! no way to train does.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example overhead [HEATS] [mlp] [cnn]
//! [rnn]`.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader, Lines, Write, stdin};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use steadygrad::Guard;
use steadygrad::cure::Outcome;
use steadygrad::guard::Preset;
use steadygrad_burn::GuardedOptimizer;
use steadygrad_lab::faults::Faults;
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::{
    Control, Optimizer, Plan, Progress, StepProgress, Structure, Subject, Tape, TrainOptions, train,
};

/// Steps of a turn. Growth through depth or time is measured once in as many.
const LAP: u64 = 50;

/// Turns that each way has in a heat, after a first one that is not counted.
const LAPS: u64 = 10;

/// The ways to train; each is a process.
const WAYS: [&str; 5] = [
    "burns-own",
    "one-pass",
    "guarded-burns-own",
    "guarded",
    "recorded",
];

/// One way's own view of the turns: it waits for a line, takes its lap, and answers with the
/// seconds.
#[derive(Default)]
struct Laps(Mutex<Lap>);

#[derive(Default)]
struct Lap {
    steps: u64,
    begun: Option<Instant>,
}

impl Laps {
    fn begin(&self) {
        let mut line = String::new();
        stdin().read_line(&mut line).expect("whose turn it is");
        self.0.lock().unwrap().begun = Some(Instant::now());
    }

    fn step(&self) {
        let mut lap = self.0.lock().unwrap();
        lap.steps += 1;
        if lap.steps.is_multiple_of(LAP) {
            let begun = lap.begun.take().expect("a lap that began");
            println!("{}", begun.elapsed().as_secs_f64());
            drop(lap);
            self.begin();
        }
    }
}

impl Progress for Laps {
    fn started(&self, _trial: &str, _steps: u64) {
        self.begin();
    }
    fn stepped(&self, _trial: &str, _done: StepProgress<'_>) {
        self.step();
    }
    fn ended(&self, _trial: &str, _outcome: &Outcome) {}
    fn phase(&self, _name: &str) {}
}

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

/// A loop of one's own.
fn by_hand<S: Subject>(
    subject: &S,
    plan: &Plan,
    mut step: impl FnMut(f64, S::Model, GradientsParams, f64) -> S::Model,
    device: &Device,
    laps: &Laps,
) {
    laps.begin();
    let rng = &mut ChaCha8Rng::seed_from_u64(plan.seed);
    let mut model = subject.build(&Structure::default(), rng, device);
    // In an order of chance anew for each epoch, as `train` has it: rows that lie one after the
    // other are read faster.
    let mut order: Vec<usize> = (0..subject.summary().training_samples).collect();
    let batch = plan.batch_size.min(order.len());
    let mut left = 0;
    for number in 0..plan.steps {
        if left < batch {
            order.shuffle(rng);
            left = order.len();
        }
        let rows = order[left - batch..left].to_vec();
        left -= batch;
        let (loss, gradients) = subject.loss_and_gradients(&model, &rows, &mut Tape::off());
        let learning_rate = plan.scheduled(plan.learning_rate, number);
        model = step(learning_rate, model, gradients, loss);
        laps.step();
    }
}

/// Gives the seconds that snapshots took.
fn guarded<S: Subject>(
    subject: &S,
    plan: &Plan,
    recorded: bool,
    device: &Device,
    laps: &Laps,
) -> f64 {
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
        progress: laps,
    };
    let (trained, _) = train(subject, plan, &options, device, control).expect("a run");
    assert_eq!(trained.guard.kept, trained.steps, "a healthy run");
    trained.snapshot_seconds
}

/// Trains in one of the ways, lap by lap; at last the seconds that snapshots took.
fn take_part<S: Subject>(way: &str, subject: &S, plan: &Plan, laps: u64, device: &Device) {
    let plan = &Plan {
        steps: laps * LAP,
        ..plan.clone()
    };
    let turns = &Laps::default();
    let snapshots = match way {
        "guarded" => guarded(subject, plan, false, device, turns),
        "recorded" => guarded(subject, plan, true, device, turns),
        "guarded-burns-own" => {
            let mut own = GuardedOptimizer::new(Guard::default(), burns_own(plan));
            let step = |rate, model, gradients, loss| own.step(rate, model, gradients, loss).model;
            by_hand(subject, plan, step, device, turns);
            0.0
        }
        _ => {
            let mut own = match way {
                "one-pass" => plan.optimizer.init(plan.momentum),
                _ => burns_own(plan),
            };
            let step = |rate, model, gradients, _| own.step(rate, model, gradients);
            by_hand(subject, plan, step, device, turns);
            0.0
        }
    };
    println!("{snapshots}");
}

/// A process that trains in one of the ways.
struct Part {
    child: Child,
    turn: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Part {
    fn start(subject: &str, laps: u64, way: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([&laps.to_string(), subject, way])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let turn = child.stdin.take().expect("its input");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            turn,
            answers: answers.lines(),
        }
    }

    fn turn(&mut self) -> f64 {
        writeln!(self.turn).expect("a process that waits");
        let answer = self.answers.next().expect("an answer").expect("text");
        answer.parse().expect("seconds")
    }

    fn end(mut self) {
        assert!(self.child.wait().expect("an end").success());
    }
}

/// Each way's seconds of one heat, without those of snapshots.
fn heat(subject: &str) -> [f64; WAYS.len()] {
    let mut parts = WAYS.map(|way| Part::start(subject, LAPS + 1, way));
    // One by one, and not counted: the first lap waits for the data and builds the model.
    for part in &mut parts {
        part.turn();
    }
    let mut seconds = [0.0; WAYS.len()];
    for lap in 0..LAPS as usize {
        // Nobody always comes after the same one.
        for turn in 0..WAYS.len() {
            let at = if lap % 2 == 0 {
                turn
            } else {
                WAYS.len() - 1 - turn
            };
            seconds[at] += parts[at].turn();
        }
    }
    for (part, seconds) in parts.iter_mut().zip(&mut seconds) {
        *seconds -= part.turn();
    }
    parts.into_iter().for_each(Part::end);
    seconds
}

/// The share of the time that snapshots take in a run by itself.
fn snapshot_share(subject: &str, laps: u64) -> f64 {
    let mut by_itself = Part::start(subject, laps, "recorded");
    let whole: f64 = (0..laps).map(|_| by_itself.turn()).sum();
    let share = by_itself.turn() / whole;
    by_itself.end();
    share
}

/// Lower quartile, median and upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[quarter * (values.len() - 1) / 4])
}

fn compare(subject: &str, heats: u64) {
    assert!(heats > 0, "no heat, no time");
    let heats: Vec<_> = (0..heats).map(|_| heat(subject)).collect();
    let share = snapshot_share(subject, LAPS * heats.len() as u64);
    let [_, bare, _] = quartiles(heats.iter().map(|seconds| seconds[0]).collect());
    println!(
        "{subject}, bare {:.1} us a step, snapshots {:.1} %",
        1e6 * bare / (LAPS * LAP) as f64,
        100.0 * share,
    );
    for (at, way) in WAYS.iter().enumerate().skip(1) {
        let snapshots = if *way == "recorded" { 1.0 - share } else { 1.0 };
        let ratios = heats
            .iter()
            .map(|seconds| seconds[at] / seconds[0] / snapshots);
        let [low, median, high] = quartiles(ratios.collect());
        println!("  {way:<18} {median:.3}x ({low:.3} to {high:.3})");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.first().and_then(|text| text.parse().ok());
    let count = count.unwrap_or(25);
    let device = Device::flex().autodiff();
    match &arguments[..] {
        [_, subject, way] if WAYS.contains(&&way[..]) => match &subject[..] {
            "cnn" => {
                let (subject, plan) = healthy::cnn(&device);
                take_part(way, &subject, &plan, count, &device);
            }
            "rnn" => {
                let (subject, plan) = healthy::rnn();
                take_part(way, &subject, &plan, count, &device);
            }
            _ => {
                let (subject, plan) = healthy::mlp(&device);
                take_part(way, &subject, &plan, count, &device);
            }
        },
        [_, subjects @ ..] if !subjects.is_empty() => {
            subjects.iter().for_each(|subject| compare(subject, count));
        }
        _ => ["mlp", "cnn", "rnn"]
            .map(|subject| compare(subject, count))
            .into_iter()
            .collect(),
    }
}
