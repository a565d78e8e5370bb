//! Measures the cost of the guard: the time of a guarded step relative to a bare step of the same
//! training loop. A guarded step runs detectors, record and snapshots at their default interval.
//!
//! The bare loop uses Burn's own optimizer. The other four loops are a bare loop with the one-pass
//! optimizer of guarded runs, a guard around Burn's optimizer, a guarded run, and a recorded run.
//!
//! Each loop runs in its own process. The processes alternate every [`TURN`] steps, so that a
//! slower machine slows all of them. Memory layout changes a process's speed by some percent, so
//! each round starts new processes. The output is the ratio of each loop's time to the bare loop's,
//! as the median and quartiles over the rounds. Snapshots follow the clock, which also runs while
//! other processes work. Their time is therefore subtracted, then added back as the share that
//! snapshots take in a separate run.
//!
//! glibc returns memory to the system and allocates it again, more at some steps than at others.
//! Set `MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000` in the environment to
//! prevent that.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example overhead [ROUNDS] [mlp] [cnn]
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

/// Steps of a turn. The guard measures growth through depth or time once in this many steps.
const TURN: u64 = 50;

/// Counted turns of each loop in a round. A first turn is not counted.
const TURNS: u64 = 10;

/// The training loops; each runs in its own process.
const LOOPS: [&str; 5] = [
    "burns-own",
    "one-pass",
    "guarded-burns-own",
    "guarded",
    "recorded",
];

/// The turns of one process. It waits for a line on its input, makes its steps and prints the
/// seconds that they took.
#[derive(Default)]
struct Turns(Mutex<Turn>);

#[derive(Default)]
struct Turn {
    steps: u64,
    begun: Option<Instant>,
}

impl Turns {
    fn begin(&self) {
        let mut line = String::new();
        stdin().read_line(&mut line).expect("a line for each turn");
        self.0.lock().unwrap().begun = Some(Instant::now());
    }

    fn step(&self) {
        let mut turn = self.0.lock().unwrap();
        turn.steps += 1;
        if turn.steps.is_multiple_of(TURN) {
            let begun = turn.begun.take().expect("the turn has begun");
            println!("{}", begun.elapsed().as_secs_f64());
            drop(turn);
            self.begin();
        }
    }
}

impl Progress for Turns {
    fn started(&self, _trial: &str, _steps: u64) {
        self.begin();
    }
    fn stepped(&self, _trial: &str, _done: StepProgress<'_>) {
        self.step();
    }
    fn ended(&self, _trial: &str, _outcome: &Outcome) {}
    fn phase(&self, _name: &str) {}
}

/// Burn's own optimizer with the plan's settings, as in a training loop without steadygrad.
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
        other => unreachable!("no healthy subject has {}", other.name()),
    }
}

/// Runs a training loop as a user writes it.
fn by_hand<S: Subject>(
    subject: &S,
    plan: &Plan,
    mut step: impl FnMut(f64, S::Model, GradientsParams, f64) -> S::Model,
    device: &Device,
    turns: &Turns,
) {
    turns.begin();
    let rng = &mut ChaCha8Rng::seed_from_u64(plan.seed);
    let mut model = subject.build(&Structure::default(), rng, device);
    // Each epoch has a new random order, as in `train`. Rows in file order would be read faster.
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
        turns.step();
    }
}

/// Makes a guarded run. Returns the seconds that its snapshots took.
fn guarded<S: Subject>(
    subject: &S,
    plan: &Plan,
    recorded: bool,
    device: &Device,
    turns: &Turns,
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
        progress: turns,
    };
    let (outcome, _) = train(subject, plan, &options, device, control).expect("a run");
    assert_eq!(outcome.guard.kept, outcome.steps, "a healthy run");
    outcome.snapshot_seconds
}

/// Runs one of the loops turn by turn. At the end it prints the seconds that snapshots took.
fn run_loop<S: Subject>(name: &str, subject: &S, plan: &Plan, count: u64, device: &Device) {
    let plan = &Plan {
        steps: count * TURN,
        ..plan.clone()
    };
    let turns = &Turns::default();
    let snapshots = match name {
        "guarded" => guarded(subject, plan, false, device, turns),
        "recorded" => guarded(subject, plan, true, device, turns),
        "guarded-burns-own" => {
            let mut own = GuardedOptimizer::new(Guard::default(), burns_own(plan));
            let step = |rate, model, gradients, loss| own.step(rate, model, gradients, loss).model;
            by_hand(subject, plan, step, device, turns);
            0.0
        }
        _ => {
            let mut own = match name {
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

/// A process that runs one of the loops.
struct Process {
    child: Child,
    turn: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(subject: &str, turns: u64, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([&turns.to_string(), subject, name])
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

/// Measures the seconds of each loop in a round, without the time of snapshots.
fn round(subject: &str) -> [f64; LOOPS.len()] {
    let mut parts = LOOPS.map(|name| Process::start(subject, TURNS + 1, name));
    // The first turn reads the data and builds the model: it is not counted.
    for part in &mut parts {
        part.turn();
    }
    let mut seconds = [0.0; LOOPS.len()];
    for number in 0..TURNS as usize {
        // The order alternates, so that no process always runs after the same process.
        for turn in 0..LOOPS.len() {
            let at = if number % 2 == 0 {
                turn
            } else {
                LOOPS.len() - 1 - turn
            };
            seconds[at] += parts[at].turn();
        }
    }
    for (part, seconds) in parts.iter_mut().zip(&mut seconds) {
        *seconds -= part.turn();
    }
    parts.into_iter().for_each(Process::end);
    seconds
}

/// Measures the share of the time that snapshots take, in a separate run.
fn snapshot_share(subject: &str, turns: u64) -> f64 {
    let mut process = Process::start(subject, turns, "recorded");
    let whole: f64 = (0..turns).map(|_| process.turn()).sum();
    let share = process.turn() / whole;
    process.end();
    share
}

/// Returns the lower quartile, median and upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[quarter * (values.len() - 1) / 4])
}

fn compare(subject: &str, rounds: u64) {
    assert!(rounds > 0, "at least one round");
    let rounds: Vec<_> = (0..rounds).map(|_| round(subject)).collect();
    let share = snapshot_share(subject, TURNS * rounds.len() as u64);
    let [_, bare, _] = quartiles(rounds.iter().map(|seconds| seconds[0]).collect());
    println!(
        "{subject}, bare {:.1} us a step, snapshots {:.1} %",
        1e6 * bare / (TURNS * TURN) as f64,
        100.0 * share,
    );
    for (at, name) in LOOPS.iter().enumerate().skip(1) {
        let snapshots = if *name == "recorded" {
            1.0 - share
        } else {
            1.0
        };
        let ratios = rounds
            .iter()
            .map(|seconds| seconds[at] / seconds[0] / snapshots);
        let [low, median, high] = quartiles(ratios.collect());
        println!("  {name:<18} {median:.3}x ({low:.3} to {high:.3})");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.first().and_then(|text| text.parse().ok());
    let count = count.unwrap_or(25);
    let device = Device::flex().autodiff();
    match &arguments[..] {
        [_, subject, name] if LOOPS.contains(&&name[..]) => match &subject[..] {
            "cnn" => {
                let (subject, plan) = healthy::cnn(&device);
                run_loop(name, &subject, &plan, count, &device);
            }
            "rnn" => {
                let (subject, plan) = healthy::rnn();
                run_loop(name, &subject, &plan, count, &device);
            }
            _ => {
                let (subject, plan) = healthy::mlp(&device);
                run_loop(name, &subject, &plan, count, &device);
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
