//! What the guard costs: a step with everything on (detectors, record, snapshots at their default
//! interval) against a bare step of the same training loop. Bare has Burn's own optimizer; beside it,
//! bare with the one that makes a step in one pass, which the guarded ones have, and a guard in a loop
//! of one's own around Burn's.
//!
//! All of them train side by side and take turns of [`LAP`] steps, so that a machine that is slower for a
//! while is slower for all of them. Shown is each one's time over the bare one's. Snapshots are due by
//! the clock, which goes on in others' turns: they are left out, and come in again by the share of the
//! time that they take in a run by itself.
//!
//! Run it with `cargo run --release -p steadygrad-lab --example overhead [LAPS] [mlp] [cnn] [rnn]`.
#![allow(clippy::print_stdout)]

use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use steadygrad::Guard;
use steadygrad::cure::Outcome;
use steadygrad::guard::Preset;
use steadygrad_burn::GuardedOptimizer;
use steadygrad_lab::faults::Faults;
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::{
    Control, Optimizer, Plan, Progress, Stepped, Structure, Subject, Tape, TrainOptions, train,
};

/// Steps of a turn. Growth through depth or time is measured once in as many.
const LAP: u64 = 50;

/// Whose turn it is.
struct Turns {
    ways: usize,
    now: Mutex<usize>,
    changed: Condvar,
}

/// One way's own view of the turns, and how long its laps took.
struct Laps<'a> {
    turns: &'a Turns,
    way: usize,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    steps: u64,
    begun: Option<Instant>,
    seconds: f64,
}

impl Turns {
    fn of(ways: usize) -> Self {
        Self {
            ways,
            now: Mutex::new(0),
            changed: Condvar::new(),
        }
    }
}

impl<'a> Laps<'a> {
    fn new(turns: &'a Turns, way: usize) -> Self {
        Self {
            turns,
            way,
            running: Mutex::default(),
        }
    }

    fn begin(&self) {
        let now = self.turns.now.lock().unwrap();
        let waiting = |now: &mut usize| *now != self.way;
        drop(self.turns.changed.wait_while(now, waiting).unwrap());
        self.running.lock().unwrap().begun = Some(Instant::now());
    }

    fn pass_on(&self) {
        *self.turns.now.lock().unwrap() = (self.way + 1) % self.turns.ways;
        self.turns.changed.notify_all();
    }

    fn step(&self) {
        let mut running = self.running.lock().unwrap();
        running.steps += 1;
        if running.steps.is_multiple_of(LAP) {
            let lap = running.begun.map(|begun| begun.elapsed().as_secs_f64());
            running.seconds += lap.unwrap_or_default();
            drop(running);
            self.pass_on();
            self.begin();
        }
    }

    fn seconds(&self) -> f64 {
        self.running.lock().unwrap().seconds
    }
}

impl Progress for Laps<'_> {
    fn started(&self, _trial: &str, _steps: u64) {
        self.begin();
    }
    fn stepped(&self, _trial: &str, _done: Stepped<'_>) {
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
    laps: &Laps<'_>,
) {
    laps.begin();
    let rng = &mut ChaCha8Rng::seed_from_u64(plan.seed);
    let mut model = subject.build(&Structure::default(), rng, device);
    let samples = subject.summary().training_samples;
    for number in 0..plan.steps {
        let first = number as usize * plan.batch_size;
        let rows: Vec<usize> = (first..first + plan.batch_size)
            .map(|row| row % samples)
            .collect();
        let (loss, gradients) = subject.loss_and_gradients(&model, &rows, &mut Tape::off());
        let learning_rate = plan.scheduled(plan.learning_rate, number);
        model = step(learning_rate, model, gradients, loss);
        laps.step();
    }
    laps.pass_on();
}

/// Gives the seconds that snapshots took.
fn guarded<S: Subject>(
    subject: &S,
    plan: &Plan,
    recorded: bool,
    device: &Device,
    laps: &Laps<'_>,
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
    laps.pass_on();
    trained.snapshot_seconds
}

fn compare<S: Subject>(subject: &S, plan: &Plan, laps: u64, device: &Device) {
    let plan = &Plan {
        steps: laps * LAP,
        ..plan.clone()
    };
    let turns = &Turns::of(5);
    let all: [Laps<'_>; 5] = std::array::from_fn(|way| Laps::new(turns, way));
    let [alone, one_pass, around_burns, with, recorded] = &all;
    let snapshots = thread::scope(|scope| {
        scope.spawn(|| {
            let mut own = burns_own(plan);
            let step = |rate, model, gradients, _| own.step(rate, model, gradients);
            by_hand(subject, plan, step, device, alone);
        });
        scope.spawn(|| {
            let mut own = plan.optimizer.init(plan.momentum);
            let step = |rate, model, gradients, _| own.step(rate, model, gradients);
            by_hand(subject, plan, step, device, one_pass);
        });
        scope.spawn(|| {
            let mut guarded = GuardedOptimizer::new(Guard::default(), burns_own(plan));
            let step =
                |rate, model, gradients, loss| guarded.step(rate, model, gradients, loss).model;
            by_hand(subject, plan, step, device, around_burns);
        });
        scope.spawn(|| guarded(subject, plan, false, device, with));
        let recorded = scope.spawn(|| guarded(subject, plan, true, device, recorded));
        recorded.join().expect("a run")
    });
    let no_turns = Turns::of(1);
    let by_itself = Laps::new(&no_turns, 0);
    let share = guarded(subject, plan, true, device, &by_itself) / by_itself.seconds();
    let [alone, one_pass, around_burns, with, recorded] = all.each_ref().map(Laps::seconds);
    println!(
        "{:<20} bare {:>7.1} us/step, in one pass {:.3}x | guarded: Burn's optimizer {:.3}x, in one pass {:.3}x, recorded {:.3}x (snapshots {:.1} %)",
        subject.summary().name,
        1e6 * alone / plan.steps as f64,
        one_pass / alone,
        around_burns / alone,
        with / alone,
        (recorded - snapshots) / alone / (1.0 - share),
        100.0 * share,
    );
}

fn main() {
    // The others would wait for the turn of the one that panicked.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let laps = arguments.first().and_then(|text| text.parse().ok());
    let laps = laps.unwrap_or(100);
    let wanted = |name: &str| match &arguments[..] {
        [_, names @ ..] if !names.is_empty() => names.iter().any(|found| found == name),
        _ => true,
    };
    let device = Device::flex().autodiff();
    if wanted("mlp") {
        let (subject, plan) = healthy::mlp(&device);
        compare(&subject, &plan, laps, &device);
    }
    if wanted("cnn") {
        let (subject, plan) = healthy::cnn(&device);
        compare(&subject, &plan, laps, &device);
    }
    if wanted("rnn") {
        let (subject, plan) = healthy::rnn();
        compare(&subject, &plan, laps, &device);
    }
}
